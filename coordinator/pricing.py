"""What a job may cost: the escrow and the highest price per unit, and units that nobody counted."""

from typing import Any, NamedTuple

from coordinator.services.definition import Content
from coordinator.services.registry import SERVICES
from ledger.types import MAX_AMOUNT, MAX_UNITS


class Cost(NamedTuple):
    """The bounds that the client agrees to, in units and base units."""

    max_units: int
    max_price: int
    escrow: int


def compute_max_units(content: Content, timeout_seconds: int) -> int:
    """Return the most units that a job of this content can need."""
    service = SERVICES[content["service"]]
    return max(1, min(service.count_most_units(content, timeout_seconds), MAX_UNITS))


def compute_cost(max_units: int, max_cost: int | None, list_price: int) -> Cost:
    """Return the escrow and the highest price. Raises `ValueError` with a sentence for the client.

    A given `max_cost` is the escrow, exactly; else the price list and the units make it.
    """
    if max_cost is None:
        escrow = max_units * list_price
        if escrow > MAX_AMOUNT:
            raise ValueError("the job's limits allow more than the largest amount of money")
        return Cost(max_units, list_price, escrow)
    max_price = max_cost // max_units
    if max_price == 0:
        raise ValueError(
            f"the job may need {max_units} units, so {max_units} base units are the least max_cost"
        )
    return Cost(max_units, max_price, max_cost)


def estimate_seconds(content: Content, timeout_seconds: int) -> int:
    """Return how long a job of this kind takes as a rule, its waiting aside."""
    service = SERVICES[content["service"]]
    return min(timeout_seconds, service.estimate_seconds(content, timeout_seconds))


def estimate_units(content: Content, result: Any, seconds: int) -> int:
    """Return the units of a result whose miner does not count them.

    Where the service tells nothing from the result, it is the time that it took.
    """
    estimate = SERVICES[content["service"]].estimate_units
    return max(1, seconds if estimate is None else estimate(content, result, seconds))
