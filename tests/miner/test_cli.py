"""`aitbc miner` as a process: settings, signals, exit codes, and that nothing outlives it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ledger.entries import JobStatus
from miner.kinds import KINDS
from miner.models import choose_folder, load_packaged_lock
from tests.support.contract_server import MINER, ContractServer
from tests.support.miner_bench import until
from tests.support.miner_process import COMMAND, make_environment, running
from tests.support.text_endpoint import TextEndpoint


def find_children(pid: int) -> set[int]:
    """Return the ids of a process's children, and of theirs."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found |= {child} | find_children(child)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_sigterm_ends_it_and_its_children_with_exit_code_0(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    async with server.serve(), endpoint.serve():
        job_id = server.submit()
        choices = {
            "api_urls": json.dumps([server.url]),
            "text_endpoint": endpoint.url,
            "text_endpoint_model": "served",
        }
        with running(tmp_path, **choices) as (process, log):
            await server.wait_for(job_id, JobStatus.SETTLED)
            children = find_children(process.pid)
            assert children
            process.send_signal(signal.SIGTERM)
            await until(lambda: process.poll() is not None, seconds=10)
            assert process.returncode == 0
            await until(lambda: not any(map(is_alive, children)), seconds=5)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"mining", "registered", "final", "shut down"} <= {line["event"] for line in lines}
    assert "aitbc_secret" not in log.read_text()
    assert MINER.seed.hex() not in log.read_text()


async def test_nothing_outlives_a_kill(tmp_path: Path) -> None:
    server = ContractServer()
    async with server.serve():
        urls = json.dumps([server.url])
        with running(tmp_path, api_urls=urls, models_folder=choose_folder()) as (process, log):
            await until(lambda: '"registered"' in log.read_text())
            children = find_children(process.pid)
            assert len(children) >= 2  # the text engine and the prover
            process.send_signal(signal.SIGKILL)
            process.wait()
            await until(lambda: not any(map(is_alive, children)), seconds=10)


def run(folder: Path, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    environment = make_environment(folder, **settings)
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_setting_that_makes_no_sense_is_named_and_no_secret_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "run", concurrency="many")
    assert done.returncode == 3
    assert "concurrency" in done.stderr
    assert "aitbc_secret" not in done.stderr


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    loose = tmp_path / "loose.seed"
    loose.write_text(MINER.seed.hex())
    loose.chmod(0o644)
    assert run(tmp_path, "run", key_file=loose).returncode == 12


def test_a_model_of_no_lock_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "fetch", "llama3.2", "--models", str(tmp_path))
    assert done.returncode == 3
    assert "llama3.2" in done.stderr


def test_models_are_fetched_and_their_paths_said(tmp_path: Path) -> None:
    done = run(tmp_path, "fetch", "tiny", "--json", "--models", str(tmp_path))
    assert done.returncode == 0
    (path,) = json.loads(done.stdout).values()
    assert path.endswith("engines/tiny_image.safetensors")
    assert {model.name for model in load_packaged_lock().models} == {
        kind.model for kind in KINDS.values() if kind.model
    }


def test_a_kind_that_is_none_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--kind", "mining")
    assert done.returncode == 3
    assert "kinds" in done.stderr


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    script = "from miner.child import die_with_parent; die_with_parent(1 << 22); print('alive')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
