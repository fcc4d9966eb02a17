"""Running a case: the fault, the check after it, and one line that says what was found."""

import os
import time
from collections.abc import Awaitable, Callable, Collection
from enum import Enum
from typing import NamedTuple

from tests.e2e.cluster.checks import check_cluster
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.figures import Figure


class Need(Enum):
    """What a case needs beyond an ordinary user's rights."""

    MOUNT = "CAP_SYS_ADMIN, to mount a small file system"
    NAMESPACES = "CAP_NET_ADMIN and CAP_SYS_ADMIN, to cut links between network namespaces"


class NotArranged(Exception):
    """A case could not bring about what it is about: nothing is proved, and no rule broken."""


class Case(NamedTuple):
    """A fault, by name."""

    name: str
    run: Callable[[Cluster], Awaitable[list[Figure]]]
    need: Need | None = None
    offends: bool = False
    """Whether the last validator's key is made to sign against itself."""


class Report(NamedTuple):
    """What came of a case."""

    figures: list[Figure]
    line: str
    is_met: bool


async def run_case(cluster: Cluster, case: Case) -> Report:
    """Run a case and check the cluster after it. Raises whatever did not hold."""
    begin = time.perf_counter()
    figures = await case.run(cluster)
    offenders: Collection[bytes] = (cluster.nodes[3].wallet.public_key,) if case.offends else ()
    checked = await check_cluster(cluster, offenders)
    seconds = time.perf_counter() - begin
    parts = [
        *map(str, figures),
        f"one chain of {checked.blocks} blocks, {checked.accepted} accepted transfers final once",
        f"{checked.signatures} signatures without a conflict"
        if not offenders
        else f"{checked.signatures} signatures, only the copied key's in conflict",
        f"{seconds:.0f} s at machine load {os.getloadavg()[0]:.1f}",
    ]
    line = f"{case.name}: {'; '.join(parts)}"
    return Report(figures, line, all(figure.is_met for figure in figures))
