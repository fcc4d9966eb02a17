"""The SDK alone: our wheel and what its bare dependencies name, in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.aitbc.cli.settled_receipt import SettledReceipt, make_settled_receipt
from tests.architecture.sources import ROOT
from tests.support.scripted_server import Prepared, serve

OF_NODE_AND_MINER = (
    "aiohttp", "jsonschema", "libp2p", "openapi_pydantic", "pydantic_settings", "sqlalchemy",
    "sqlcipher3", "sqlmodel", "structlog", "trio", "uvloop", "xllamacpp",
)  # fmt: skip

EXAMPLE = """
from aitbc import AITBCClient

client = AITBCClient(api_key="your_key")
# Create a job
job = client.jobs.create({
    "name": "my-job",
    "type": "ai-inference",
    "model": {"type": "llm", "name": "smollm2-135m"},
    "input": {"prompt": "Say hello."},
})
# Get results
results = client.jobs.get_results(job["job_id"])
print(results["result"])
"""
"""The example of the first document, with its dots filled in."""


def iterate_closure(names: set[str]) -> Iterator[Distribution]:
    """Yield each distribution that these names need, themselves included."""
    waiting, seen = list(names), set[str]()
    while waiting:
        found = distribution(waiting.pop())
        if found.name in seen:
            continue
        seen.add(found.name)
        yield found
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with our wheel and its bare dependencies.

    The dependencies are the locked ones of this environment, linked: no index is asked.
    """
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    uv = [sys.executable, "-m", "uv", "--offline"]
    environment = folder / "environment"
    subprocess.run([*uv, "venv", "--python", sys.executable, environment], check=True)
    interpreter = environment / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = ["pip", "install", "--no-deps", "--python", str(interpreter), str(wheel)]
    subprocess.run([*uv, *install], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bare = {Requirement(text).name for text in project["dependencies"]}
    packages = Path(sysconfig.get_path("purelib"))
    target = environment / packages.relative_to(sys.prefix)
    for each in iterate_closure(bare):
        for file in each.files or ():
            place = target / file
            if ".." not in file.parts and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path(str(each.locate_file(file))))
    return interpreter


@pytest.fixture(scope="module")
def settled() -> SettledReceipt:
    return make_settled_receipt()


def run(python: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *arguments],
        cwd=python.parent, env={"PATH": os.defpath, "HOME": str(python.parent), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_nothing_of_node_or_miner_is_there(python: Path) -> None:
    code = f"import importlib.util as i; print(*filter(i.find_spec, {OF_NODE_AND_MINER!r}))"
    assert run(python, "-c", code).stdout.strip() == ""


def test_the_first_documents_example_runs_as_written(python: Path) -> None:
    job = {"job_id": "job_1", "status": "submitted"}
    with serve(Prepared(201, job), Prepared(200, {"result": "Hello."})) as server:
        done = run(python, "-c", EXAMPLE, AITBC_API_URL=server.url)
    assert (done.returncode, done.stdout) == (0, "Hello.\n"), done.stderr
    assert [asked.path for asked in server.asked] == ["/v1/jobs", "/v1/jobs/job_1/results"]
    assert server.asked[0].headers["x-api-key"] == "your_key"
    assert server.asked[0].headers["idempotency-key"]


def test_every_module_of_the_sdk_is_imported(python: Path) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("aitbc", "aitbc/calls")
        for path in sorted((ROOT / folder).glob("*.py"))
        if path.stem != "__init__"
    ]
    done = run(python, "-c", "\n".join(f"import {name}" for name in names))
    assert done.returncode == 0, done.stderr


def test_a_receipt_is_verified_by_command_and_in_python(
    python: Path, settled: SettledReceipt, tmp_path: Path
) -> None:
    bundle, genesis = tmp_path / "receipt.json", tmp_path / "genesis.json"
    bundle.write_text(json.dumps(settled.bundle))
    genesis.write_bytes(settled.genesis)
    command = ("-m", "aitbc.cli.main", "receipt", "verify", str(bundle))
    done = run(python, *command, "--genesis", str(genesis), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["valid"] is True
    code = f"""
import json, pathlib
from aitbc.models import Receipt
from genesis.checkpoint import start_from_genesis
from genesis.document import load_genesis

trusted = start_from_genesis(load_genesis(pathlib.Path({str(genesis)!r}).read_bytes()))
bundle = json.loads(pathlib.Path({str(bundle)!r}).read_text())
receipt = Receipt.model_validate(bundle["receipt"])
print(receipt.verify().receipt_id == receipt.verify(bundle, trusted).core.receipt_id)
"""
    verified = run(python, "-c", code)
    assert (verified.returncode, verified.stdout) == (0, "True\n"), verified.stderr


def test_the_command_explains_itself(python: Path) -> None:
    command = python.parent / "aitbc"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "receipt" in done.stdout
