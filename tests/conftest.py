"""How every test runs: the same examples each time, so that a red gate is red for everybody."""

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


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Undo a log set-up: it writes to the standard error of the test that made it."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
