"""How every test runs: the same examples each time, so that a red gate is red for everybody."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# For a search at leisure: pytest --hypothesis-profile=search
settings.register_profile("search", max_examples=5_000, deadline=None)
settings.load_profile("gate")
