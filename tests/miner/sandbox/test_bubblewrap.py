import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from miner.sandbox.bounds import (
    CGROUPS,
    PREFIX,
    ProcessBounds,
    make_bounds,
    sweep_groups,
)
from miner.sandbox.bubblewrap import Bubblewrap, Choose
from miner.sandbox.interface import (
    MAX_LINE_BYTES,
    MIB,
    Command,
    Ending,
    Limits,
    Mount,
    SandboxFailedError,
)

LIMITS = Limits(memory_bytes=256 * MIB, disk_bytes=16 * MIB, wall_seconds=30.0)


@pytest.fixture(params=[make_bounds, ProcessBounds], ids=["groups", "prlimit"])
def sandbox(request: pytest.FixtureRequest) -> Bubblewrap:
    choose: Choose = request.param
    return Bubblewrap(shutil.which("bwrap") or "bwrap", choose)


async def run_shell(
    sandbox: Bubblewrap,
    output: Path,
    script: str,
    *inputs: Mount,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> tuple[Ending, list[str]]:
    lines: list[str] = []
    command = Command(
        arguments=("sh", "-c", script),
        inputs=inputs,
        stdin=stdin,
        environment=environment or {},
    )
    return await sandbox.run(command, LIMITS, output, lines.append, asyncio.Event()), lines


async def test_a_command_reads_its_inputs_and_leaves_its_results(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    output, folder = tmp_path / "output", tmp_path / "folder"
    output.mkdir()
    folder.mkdir()
    (folder / "inner").write_text("inner")
    (tmp_path / "file").write_text("file")
    ending, lines = await run_shell(
        sandbox,
        output,
        "cat; cat /input/file /input/folder/inner; echo; id -u; pwd; echo $GIVEN; echo $HOME; "
        "mkdir made; printf result > made/result; printf scratch > /tmp/scratch; echo last >&2",
        Mount(tmp_path / "file", "/input/file"),
        Mount(folder, "/input/folder"),
        stdin=b"standard input\n",
        environment={"GIVEN": "a value; with $signs"},
    )
    assert ending.is_good
    assert lines == [
        *("standard input", "fileinner", "1000", "/work", "a value; with $signs", "/tmp"),
    ]
    assert ending.last_words == "last"
    assert [str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()] == ["made/result"]
    assert (output / "made" / "result").read_text() == "result"
    assert (output / "made" / "result").stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == ["inner"]


async def test_an_input_may_have_the_path_that_it_has_outside(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("same")
    output = tmp_path / "output"
    output.mkdir()
    # Also in an argument it is no other path than that.
    ending, lines = await run_shell(sandbox, output, f"cat {file}; echo", Mount(file, str(file)))
    assert (ending.exit_code, lines) == (0, ["same"])


async def test_an_input_that_others_may_not_read_is_named(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("private")
    file.chmod(0o600)
    mount = Mount(file, "/input/file")
    if os.geteuid() == 0:
        with pytest.raises(SandboxFailedError, match=f"others may not read {file}"):
            await run_shell(sandbox, tmp_path, "true", mount)
    else:
        ending, _ = await run_shell(sandbox, tmp_path, "true", mount)
        assert ending.is_good


async def test_an_input_that_is_not_there_is_named(sandbox: Bubblewrap, tmp_path: Path) -> None:
    with pytest.raises(SandboxFailedError, match="No such file or directory"):
        await run_shell(sandbox, tmp_path, "true", Mount(tmp_path / "none", "/input/none"))


async def test_a_failed_command_comes_back_with_its_code_and_words(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    ending, _ = await run_shell(sandbox, tmp_path, "echo why >&2; printf part > part; exit 7")
    assert (ending.exit_code, ending.limit, ending.last_words) == (7, None, "why")
    assert not ending.is_good
    # What a whole run left is its engine's to judge.
    assert os.listdir(tmp_path) == ["part"]


@pytest.mark.parametrize(
    "script",
    [
        "head -c 100000000 /dev/zero > large",
        "head -c 1000000000 /dev/zero | split -b 1000000 - /tmp/part",
        "seq 100000 | xargs touch",
        "exec head -c 100000000 /dev/zero > large",
    ],
)
async def test_a_run_that_fails_for_want_of_room_met_its_bound(
    sandbox: Bubblewrap, tmp_path: Path, script: str
) -> None:
    ending, _ = await run_shell(sandbox, tmp_path, f"trap '' XFSZ; {script}")
    assert ending.limit == "disk"
    assert os.listdir(tmp_path) == []


async def test_a_long_line_is_cut_and_odd_bytes_are_replaced(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    script = (
        f"head -c {3 * MAX_LINE_BYTES} /dev/zero | tr '\\0' x; echo; printf '\\377\\n'; printf end"
    )
    _, lines = await run_shell(sandbox, tmp_path, script)
    assert len(lines) == 3
    assert len(lines[0]) <= MAX_LINE_BYTES
    assert lines[1:] == ["\ufffd", "end"]


async def test_results_that_cannot_be_packed_are_no_good_run(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    ending, _ = await run_shell(sandbox, tmp_path, "mkdir closed; touch closed/a; chmod 0 closed")
    assert not ending.is_good
    assert "Cannot open" in ending.last_words


async def test_many_runs_side_by_side_keep_their_results_apart(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    endings = await asyncio.gather(
        *(run_shell(sandbox, folder, f"echo {folder.name} > result") for folder in folders)
    )
    assert all(ending.is_good for ending, _ in endings)
    assert [(folder / "result").read_text() for folder in folders] == ["0\n", "1\n", "2\n", "3\n"]


async def test_a_run_whose_waiter_is_cancelled_ends(sandbox: Bubblewrap, tmp_path: Path) -> None:
    word = f"{os.getpid()}.5"
    running = asyncio.create_task(run_shell(sandbox, tmp_path, f"exec sleep {word}"))
    await wait_until(word, is_there=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await wait_until(word, is_there=False)


MINER = """
import asyncio, sys
from pathlib import Path
from miner.sandbox.bubblewrap import Bubblewrap
from miner.sandbox.interface import Command, Limits

command = Command(arguments=("sh", "-c", "trap '' TERM HUP INT; sleep " + sys.argv[2] + "; true"))
run = Bubblewrap.open().run(command, Limits(), Path(sys.argv[1]), print, asyncio.Event())
asyncio.run(run)
"""


async def test_a_run_ends_with_its_miner(tmp_path: Path) -> None:
    word = f"{os.getpid()}.75"
    miner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MINER, str(tmp_path), word),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    await wait_until(word, is_there=True)
    miner.kill()
    await miner.wait()
    await wait_until(word, is_there=False)
    # The kernel lets a group go a moment after the last of its processes is gone.
    for _ in range(1_000):
        sweep_groups()
        if not any(f"{PREFIX}{miner.pid}-" in folder for folder, _, _ in os.walk(CGROUPS)):
            return
        await asyncio.sleep(0.02)
    pytest.fail("a group of the killed miner stays")


async def wait_until(word: str, *, is_there: bool) -> None:
    """Wait until a process that sleeps for so long is there, or is gone."""
    for _ in range(1_000):
        if find(word) is is_there:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"sleep {word}: still {not is_there}")


def find(word: str) -> bool:
    """Tell whether a process sleeps for so long."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes() == f"sleep\0{word}\0".encode():
                return True
        except OSError:
            continue
    return False
