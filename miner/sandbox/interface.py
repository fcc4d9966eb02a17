"""What is run where foreign bytes are, with which bounds, and how it ended."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

MIB: Final = 1024 * 1024
WORK: Final = "/work"
"""The folder inside that a command starts in, and whose files are its results."""
MAX_LINE_BYTES: Final = 64 * 1024
"""Of a line of standard output; a longer one is cut."""
MAX_OUTPUT_BYTES: Final = 16 * MIB
"""Of standard output and error together, for each hour that is begun; more ends the run."""
MAX_LINES: Final = 250_000
"""Of standard output, in the same way: each is a call in the miner."""
MAX_FILES: Final = 64
"""That a run may leave."""
MAX_ROOM_FILES: Final = 16_384
"""That a run may have at a time: files, folders and links."""


class SandboxMissingError(Exception):
    """This machine cannot run foreign bytes safely; the text says what to install or to allow."""


class SandboxFailedError(Exception):
    """The sandbox itself did not come up."""


class Limits(NamedTuple):
    """The bounds of one run as a whole.

    `disk_bytes` are memory as well, beside `memory_bytes`: of `/work`, `/tmp` and `/dev/shm`.
    """

    memory_bytes: int = 2_048 * MIB
    cpu_seconds: int = 600
    wall_seconds: float = 600.0
    processes: int = 64
    disk_bytes: int = 1_024 * MIB
    open_files: int = 256


class Mount(NamedTuple):
    """A file or folder of the host's that the run may read, and where it finds it."""

    source: Path
    target: str


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program and what it sees; it starts in `/work`, the one folder that it may write to."""

    arguments: tuple[str, ...]
    inputs: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = {}
    stdin: bytes = b""
    needs_gpu: bool = False


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    exit_code: int
    """128 and the signal's number where one ended it."""
    limit: str | None
    """Which bound ended it: memory, cpu time, wall time, output, disk or files."""
    is_stopped: bool
    """It was told to end before it had."""
    last_words: str
    """The end of standard error."""
    cpu_seconds: float
    peak_bytes: int
    """0 where nothing counts it."""
    bounds: str
    """What kept them: `cgroup v2`, `cgroup v1` or `prlimit`."""

    @property
    def is_good(self) -> bool:
        """Whether the program ended by itself and without an error."""
        return self.exit_code == 0 and self.limit is None and not self.is_stopped


OnLine = Callable[[str], None]
"""Called with each line of standard output."""


class Sandbox(Protocol):
    """Runs foreign bytes."""

    @property
    def name(self) -> str:
        """What keeps them, as receipts name it."""

    @property
    def shows_host(self) -> bool:
        """Whether a run sees all that its user sees here, and not only what a command names."""

    async def run(
        self, command: Command, limits: Limits, output: Path, on_line: OnLine, stop: asyncio.Event
    ) -> Ending:
        """Run a command to its end, and put the files that it left in `/work` into `output`.

        `output` is an empty folder, which stays empty for a run that was stopped or met a bound.
        Raises `SandboxFailedError`.
        """
