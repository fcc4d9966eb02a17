"""Programs that come with their job: what they get, what comes of them, and what they cannot do."""

import asyncio
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ledger.faults import Reason
from miner.engines.code import SOURCE, CodeEngine
from miner.engines.code_packages import PackageMissingError
from miner.engines.interface import EngineFailedError, InputInvalidError
from miner.sandbox.open import find_sandbox
from tests.support.foreign_bench import Left, make_environment, run_foreign

SUM = """
import json, sys
given = json.load(sys.stdin)
print(json.dumps({"sum": sum(given["numbers"]), "type": given["type"]}))
"""


async def open_engine(environment: Path | None = None) -> CodeEngine:
    engine = CodeEngine(await find_sandbox(allow_unsandboxed=False), environment, 1)
    await engine.prepare()
    return engine


async def run_python(folder: Path, source: str, **choices: Any) -> Left:
    engine = await open_engine()
    return await run_foreign(engine, folder, "python", {"source": source}, **choices)


async def test_input_and_output_are_json(tmp_path: Path) -> None:
    given = {"numbers": [1, 2, 39], "type": "image"}
    left = await run_python(tmp_path, SUM, input_=given)
    assert left.result.answer == {
        "exit_code": 0,
        "output": {"sum": 42, "type": "image"},
        "stdout": "",
        "stderr": "",
    }
    assert left.result.units == 1
    assert "CPython" in left.result.engine and "bubblewrap" in left.result.engine
    assert set(left.result.pins) == {"build", "environment_sha256", "threads"}


async def test_a_result_may_be_a_document_and_files(tmp_path: Path) -> None:
    source = """
import json, os
print("words")
json.dump([1.5, None], open("result.json", "w"))
open("picture.png", "wb").write(b"\\x89PNG")
open(".hidden", "w").write("x")
os.mkdir("folder")
open("folder/other", "w").write("x")
os.symlink("/etc/passwd", "link.txt")
"""
    left = await run_python(tmp_path, source)
    assert left.result.answer["output"] == [1.5, None]
    assert left.result.answer["stdout"] == "words"
    assert left.files == {"picture.png": b"\x89PNG"}
    assert left.result.files[0].media_type == "image/png"


async def test_an_exit_code_is_a_result_and_its_words_are_told(tmp_path: Path) -> None:
    left = await run_python(tmp_path, "print('so far')\nraise SystemExit('enough')")
    assert left.result.answer == {
        "exit_code": 1, "output": None, "stdout": "so far", "stderr": "enough",
    }  # fmt: skip


async def test_an_archive_is_run_at_its_entrypoint(tmp_path: Path) -> None:
    archive = tmp_path / "code"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("app/model.py", "from app.part import WORD\nprint(WORD)")
        packed.writestr("app/part.py", "WORD = 'true'")
    engine = await open_engine()
    sources = {SOURCE: archive}
    params = {"entrypoint": "app/model.py"}
    left = await run_foreign(engine, tmp_path, "python", params, sources=sources)
    assert left.result.answer["output"] is True
    with pytest.raises(InputInvalidError, match=r"has no main\.py"):
        await run_foreign(engine, tmp_path, "python", {}, sources=sources)


async def test_only_the_packages_of_the_environment_are_there(tmp_path: Path) -> None:
    engine = await open_engine(make_environment(tmp_path / "environment", greeting="1.5"))
    source = "import greeting\nprint(greeting.VERSION)\nimport numpy"
    params = {"source": source, "requirements": ["Greeting>=1,<2"]}
    left = await run_foreign(engine, tmp_path, "python", params)
    assert left.result.answer["output"] == 1.5
    assert "No module named 'numpy'" in left.result.answer["stderr"]
    assert "1 packages" in left.result.engine


@pytest.mark.parametrize(
    ("requirement", "reason", "words"),
    [
        ("torch", Reason.RESOURCES_MISSING, "this miner has no torch"),
        ("greeting>=2", Reason.RESOURCES_MISSING, "has greeting 1.5"),
        ("greeting[more]", Reason.RESOURCES_MISSING, "has no absent"),
        ("greeting @ https://a.example/g.whl", Reason.RESOURCES_MISSING, "nothing is installed"),
        ("not a name!", Reason.INPUT_INVALID, "is no requirement"),
    ],
)
async def test_a_requirement_that_is_not_met_names_the_package(
    requirement: str, reason: Reason, words: str, tmp_path: Path
) -> None:
    engine = await open_engine(make_environment(tmp_path / "environment", greeting="1.5"))
    params = {"source": "1", "requirements": ["greeting; python_version > '3'", requirement]}
    kind = InputInvalidError if reason is Reason.INPUT_INVALID else PackageMissingError
    assert kind.reason is reason
    with pytest.raises(kind, match=words):
        await run_foreign(engine, tmp_path, "python", params)


@pytest.mark.parametrize(
    ("params", "input_", "words"),
    [
        ({}, {}, "one of source and source_url"),
        ({"source": "1"}, {SOURCE: "file_" + "0a" * 32}, "one of source and source_url"),
        ({"source": "1", "entrypoint": "../main.py"}, {}, "no path in an archive"),
        ({"source": "1", "entrypoint": "/main.py"}, {}, "no path in an archive"),
        ({"source": "1", "requirements": "numpy"}, {}, "requirements"),
        ({"source": "1", "network": True}, {}, "network"),
        ({}, {SOURCE: "/etc/passwd"}, "http"),
    ],
)
async def test_a_content_that_says_no_program_is_refused(
    params: dict[str, Any], input_: dict[str, Any], words: str
) -> None:
    engine = await open_engine()
    content = {"service": "custom_code", "model": "python", "input": input_, "params": params}
    with pytest.raises(InputInvalidError, match=words):
        engine.read(content)
    with pytest.raises(InputInvalidError, match="python or wasm"):
        engine.read({**content, "model": "bash"})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("open('result.json', 'w').write('{')", "no JSON"),
        ("open('result.json', 'w').write('[' * 100_000)", "no JSON"),
        ("open('result.json', 'w').write('[NaN]')", "no JSON"),
        ("open('result.json', 'w').write('1' * 600_000)", "is over"),
        ("for _ in range(100): print('\\0' * 5_000)", "output is over"),
        ("print('x' * 70_000)", "a line of over"),
        ("for _ in range(20_000): print('x' * 50)", "printed more than"),
        ("while True: print('x' * 1_000)", "more output"),
    ],
)
async def test_what_a_program_may_leave_is_bounded(source: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputInvalidError, match=words):
        await run_python(tmp_path, source)


@pytest.mark.parametrize("printed", ["NaN", "1152921504606846976", "[" * 50_000, "", "\ud800"])
async def test_what_is_no_json_are_words(printed: str, tmp_path: Path) -> None:
    source = f"import sys\nsys.stdout.buffer.write({printed!r}.encode('utf-8', 'surrogatepass'))"
    answer = (await run_python(tmp_path, source)).result.answer
    assert answer["output"] is None
    assert answer["stdout"] == printed.encode("utf-8", "surrogatepass").decode(errors="replace")


async def test_a_program_sees_neither_the_miner_nor_the_network(tmp_path: Path) -> None:
    secret = tmp_path / "miner.seed"
    secret.write_text("secret")
    os.environ["AITBC_TEST_SECRET"] = "secret"
    source = f"""
import json, os, socket
said = {{"environment": "AITBC_TEST_SECRET" in os.environ}}
for path in ({str(secret)!r}, {str(Path.home())!r}, "/etc/passwd", "/proc/1/environ"):
    try:
        said[path] = "secret" in open(path).read()
    except OSError:
        said[path] = False
for family, address in ((socket.AF_INET, ("1.1.1.1", 53)), (socket.AF_INET, ("127.0.0.1", 22))):
    try:
        socket.socket(family).connect(address)
        said[str(address)] = True
    except OSError:
        said[str(address)] = False
print(json.dumps(said))
"""
    try:
        answer = (await run_python(tmp_path, source)).result.answer
    finally:
        del os.environ["AITBC_TEST_SECRET"]
    assert answer["output"] and not any(answer["output"].values()), answer


async def test_a_program_that_does_not_end_is_stopped_and_its_seconds_are_counted(
    tmp_path: Path,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(1.2, stop.set)
    left = await run_python(tmp_path, "print('begun')\nwhile True: pass", stop=stop)
    assert (left.result.is_cut, left.files) == (True, {})
    assert (left.result.answer["exit_code"], left.result.answer["stdout"]) == (None, "begun")
    assert left.result.units >= 2


async def test_an_environment_that_is_none_is_named(tmp_path: Path) -> None:
    engine = CodeEngine(await find_sandbox(allow_unsandboxed=False), tmp_path / "absent", 1)
    with pytest.raises(EngineFailedError, match="no Python at"):
        await engine.prepare()
