from coordinator.settings import WebhookLimits
from coordinator.webhook_outcomes import Outcome, compute_pause

LIMITS = WebhookLimits()


def test_pauses_grow_to_the_longest_and_spread() -> None:
    pauses = [compute_pause(attempts, LIMITS, 0) for attempts in range(1, LIMITS.attempts)]
    assert pauses[:4] == [5_000, 15_000, 45_000, 135_000]
    assert pauses[-1] == 6 * 3_600_000
    assert pauses == sorted(pauses)
    assert 86_400_000 < sum(pauses) < LIMITS.age_seconds * 1000
    spread = {compute_pause(1, LIMITS, jitter) for jitter in range(10_000)}
    assert (min(spread), max(spread)) == (5_000, 6_250)
    assert compute_pause(10**9, LIMITS, 2**32) <= 1.25 * 6 * 3_600_000


def test_only_an_answer_of_success_is_one() -> None:
    assert [status for status in range(100, 600) if Outcome(status, None).is_success] == [
        *range(200, 300)
    ]
    assert not Outcome(None, "UNREACHABLE").is_success
