"""Hostile programs in the sandbox: none gets out, none stays, and this process lives on."""

import asyncio
import contextlib
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from miner.sandbox.bounds import ProcessBounds
from miner.sandbox.bubblewrap import Bubblewrap
from miner.sandbox.interface import MAX_ROOM_FILES, Mount
from miner.sandbox.plain import PlainProcess
from miner.sandbox.seccomp import ALLOW
from tests.miner.sandbox.runs import LIMITS, run_program

FOREIGN = {"x86_64": ("x32", "i386")}
"""Other architectures whose calls a processor knows."""


class Host(NamedTuple):
    """What a program is told of the host, and may not reach."""

    targets: dict[str, Any]
    victim: subprocess.Popen[bytes]
    reached: list[str]


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    return Bubblewrap.open()


@pytest.fixture(scope="module")
def prlimit() -> Bubblewrap:
    """The same on a machine without control groups."""
    return Bubblewrap(shutil.which("bwrap") or "bwrap", ProcessBounds)


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    """A key, a marker in the environment, a process, and servers that note who comes."""
    key = tmp_path / "miner.key"
    key.write_text("secret")
    key.chmod(0o644)  # not its mode is what keeps it
    marker = f"marker-{os.getpid()}"
    monkeypatch.setenv("AITBC_MINER_API_KEY", marker)
    reached: list[str] = []
    async with contextlib.AsyncExitStack() as stack:

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.append("stream")
            await reader.read()
            writer.close()

        server = await stack.enter_async_context(await asyncio.start_server(note, "0.0.0.0", 0))
        port = server.sockets[0].getsockname()[1]
        abstract = f"aitbc-{os.getpid()}"
        await stack.enter_async_context(await asyncio.start_unix_server(note, f"\0{abstract}"))
        victim = stack.enter_context(_start_victim(marker))
        targets = {
            "key": str(key),
            "marker": marker,
            "outside": str(tmp_path / "outside"),
            "port": port,
            "host": _find_address(),
            "abstract": abstract,
            "victim": victim.pid,
        }
        yield Host(targets, victim, reached)


@contextlib.contextmanager
def _start_victim(marker: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], env={"MARKER": marker}, start_new_session=True) as made:
        yield made
        made.kill()


def _find_address() -> str:
    """Return an address of this host other than its loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        try:
            made.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(made.getsockname()[0])


@pytest.mark.parametrize(
    ("program", "tries"),
    [
        ("network", 10),
        ("host_files", 10),
        ("write_outside", 15),
        ("kernel", 43),
        ("privileges", 4),
        ("terminal", 6),
    ],
)
async def test_nothing_that_a_program_tries_goes_through(
    sandbox: Bubblewrap, host: Host, tmp_path: Path, program: str, tries: int
) -> None:
    given = tmp_path / "given"
    given.write_text("given")
    mount = Mount(given, "/input/file")
    run = await run_program(
        sandbox, tmp_path / "output", program, targets=host.targets, inputs=(mount,)
    )
    assert run.escaped == []
    assert len(run.held) >= tries
    assert run.ending.is_good
    assert host.reached == []
    assert given.read_text() == "given"
    assert "outside" not in os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("program", "ways"),
    [
        ("network", ["tcp 127.0.0.1", "udp", "abstract", "family AF_NETLINK"]),
        ("host_files", ["accounts", "key", "key above", "var", "marker"]),
    ],
)
async def test_the_same_programs_get_out_where_no_sandbox_is(
    host: Host, tmp_path: Path, program: str, ways: list[str]
) -> None:
    """Else the test above would prove nothing."""
    run = await run_program(PlainProcess(), tmp_path / "output", program, targets=host.targets)
    names = [line.split(": ")[1] for line in run.escaped]
    assert [way for way in ways if way not in names] == []


async def test_some_of_it_goes_through_where_the_filter_lets_every_call_pass(
    host: Host, tmp_path: Path
) -> None:
    """So the filter is what holds it."""
    everything = struct.pack("=HBBI", 0x06, 0, 0, ALLOW)
    open_sandbox = Bubblewrap(
        shutil.which("bwrap") or "bwrap", make_filter=lambda is_counted: everything
    )
    for program in ("kernel", "processes", "network"):
        run = await run_program(open_sandbox, tmp_path / "output", program, targets=host.targets)
        assert run.escaped != []
    for way in FOREIGN.get(platform.machine(), ()):
        run = await run_program(open_sandbox, tmp_path / "output", "architecture", way)
        assert run.escaped == ["escaped"]
    # What namespaces hold needs no filter.
    assert host.victim.poll() is None
    assert host.reached == []


async def test_processes_are_neither_read_nor_ended(
    sandbox: Bubblewrap, host: Host, tmp_path: Path
) -> None:
    run = await run_program(sandbox, tmp_path / "output", "processes", targets=host.targets)
    assert run.escaped == []
    assert len(run.held) >= 18
    # It ends with a signal to all that it may reach, which is itself and its shell.
    assert run.ending.exit_code == 128 + signal.SIGKILL
    assert host.victim.poll() is None


async def test_a_fork_bomb_ends_at_the_processes_of_its_run(
    sandbox: Bubblewrap, prlimit: Bubblewrap, tmp_path: Path
) -> None:
    for kind in (sandbox, prlimit):
        run = await run_program(kind, tmp_path / "output", "fork_bomb")
        assert 5 <= int(run.lines[0]) <= LIMITS.processes
        assert run.ending.is_good


@pytest.mark.parametrize("way", ["one", "many"])
async def test_memory_ends_at_its_bound(
    sandbox: Bubblewrap, prlimit: Bubblewrap, tmp_path: Path, way: str
) -> None:
    limits = LIMITS._replace(processes=64)
    for kind in (sandbox, prlimit):
        run = await run_program(kind, tmp_path / "output", "allocate", way, limits=limits)
        if run.ending.bounds == "prlimit" and way == "one":
            # It is refused its memory; many are ended for what they hold together.
            assert (run.ending.limit, run.ending.exit_code) == (None, 9)
        else:
            assert run.ending.limit == "memory"


async def test_all_that_is_written_has_one_bound(sandbox: Bubblewrap, tmp_path: Path) -> None:
    run = await run_program(sandbox, tmp_path / "output", "fill_disk")
    assert run.escaped == []
    assert len(run.held) == 5
    assert int(run.lines[-1]) <= LIMITS.disk_bytes
    assert sum(map(len, run.files.values())) <= LIMITS.disk_bytes


async def test_files_have_a_number(sandbox: Bubblewrap, tmp_path: Path) -> None:
    run = await run_program(sandbox, tmp_path / "output", "fill_inodes")
    assert 1_000 < int(run.lines[0]) <= MAX_ROOM_FILES
    assert run.ending.limit == "files"
    assert run.files == {}


async def test_calls_of_another_architecture_end_the_program(
    sandbox: Bubblewrap, tmp_path: Path
) -> None:
    for way in FOREIGN.get(platform.machine(), ()):
        run = await run_program(sandbox, tmp_path / "output", "architecture", way)
        assert run.escaped == []
        assert run.ending.exit_code == 128 + signal.SIGSYS


async def test_only_plain_files_are_results(sandbox: Bubblewrap, tmp_path: Path) -> None:
    run = await run_program(sandbox, tmp_path / "output", "results")
    assert run.ending.is_good
    assert run.files == {
        "good.txt": b"good",
        "twin": b"good",
        "folder/good.txt": b"good too",
        "folder/..hidden": b"a plain name",
    }


@pytest.mark.parametrize("way", ["names", "members"])
async def test_a_forged_archive_of_results_stays_in_its_folder(
    sandbox: Bubblewrap, tmp_path: Path, way: str
) -> None:
    run = await run_program(sandbox, tmp_path / "below" / "output", "tape", way)
    assert run.ending.exit_code == 128 + signal.SIGKILL
    # A link is left out, so what was to lie behind it is in a folder; an endless list is refused.
    assert set(run.files) <= ({"good.txt", "link/escaped"} if way == "names" else set())
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["output"]
    assert "escaped" not in os.listdir("/tmp")


@pytest.mark.parametrize("way", ["text", "lines", "error"])
async def test_endless_output_ends_the_run(sandbox: Bubblewrap, tmp_path: Path, way: str) -> None:
    run = await run_program(sandbox, tmp_path / "output", "flood", way)
    assert run.ending.limit == "output"
    assert len(run.ending.last_words) <= 2_048


async def test_a_process_left_behind_ends_with_the_run(
    sandbox: Bubblewrap, prlimit: Bubblewrap, tmp_path: Path
) -> None:
    for kind in (sandbox, prlimit):
        begun = time.monotonic()
        run = await run_program(kind, tmp_path / "output", "daemon", "leaves")
        assert run.lines == ["gone"]
        assert run.ending.is_good
        assert time.monotonic() - begun < 30


async def test_a_program_that_hears_no_signal_is_stopped(
    sandbox: Bubblewrap, prlimit: Bubblewrap, tmp_path: Path
) -> None:
    for kind in (sandbox, prlimit):
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.5, stop.set)
        run = await run_program(kind, tmp_path / "output", "daemon", "stays", stop=stop)
        assert run.lines == ["deaf"]
        assert run.ending.is_stopped
        assert run.files == {}


async def test_time_ends_at_its_bound(sandbox: Bubblewrap, tmp_path: Path) -> None:
    limits = LIMITS._replace(wall_seconds=0.5)
    run = await run_program(sandbox, tmp_path / "output", "daemon", "stays", limits=limits)
    assert run.ending.limit == "wall time"


async def test_computing_ends_at_its_bound_whatever_many_share_it(
    sandbox: Bubblewrap, prlimit: Bubblewrap, tmp_path: Path
) -> None:
    limits = LIMITS._replace(cpu_seconds=1)
    for kind in (sandbox, prlimit):
        run = await run_program(kind, tmp_path / "output", "loop", limits=limits)
        assert run.ending.limit == "cpu time"
        assert run.ending.cpu_seconds < 4
