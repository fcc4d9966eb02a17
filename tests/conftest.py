"""How every test runs: the same examples each time, so that a red gate is red for everybody."""

import fcntl
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# For a search at leisure: pytest --hypothesis-profile=search
settings.register_profile("search", max_examples=5_000, deadline=None)
settings.load_profile("gate")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts us in the background has it ignored, and so would every command that a
    # test starts and then interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Log to standard error, as the product does, and undo a test's own set-up.

    A `CliRunner` takes over the streams of the process, also from a node beside it.
    """
    ours = sys.stderr
    is_read = not {"capsys", "capfd"}.isdisjoint(request.fixturenames)
    structlog.configure(
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr if is_read else ours)
    )
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def node_key() -> Iterator[None]:
    """Run no other test meanwhile that starts a process with the key of `NODE`: the host has one.

    The workers of a run are processes, so what they wait for is a file.
    """
    with (Path(tempfile.gettempdir()) / "aitbc-tests-node-key").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
