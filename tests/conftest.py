"""How every test runs: the same examples each time, so that a red gate is red for everybody."""

import signal
from collections.abc import Iterator

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
def _own_logs() -> Iterator[None]:
    """Undo a log set-up: it writes to the standard error of the test that made it."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
