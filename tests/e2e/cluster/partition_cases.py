"""Links that are cut between processes that all run: by halves, one alone, one way, one key twice.

These need a cluster in namespaces.
"""

import asyncio
import time
from typing import Final

from ledger.ballots import VoteKind
from ledger.quorum import compute_quorum
from node.exit_codes import ExitCode
from tests.e2e.cluster.cases import NotArranged
from tests.e2e.cluster.checks import Violation
from tests.e2e.cluster.cluster import LIMIT_SECONDS, QUORUM, VALIDATORS, Cluster, wait_until
from tests.e2e.cluster.crash_cases import ALL, LEAD_SECONDS, demand_no_block
from tests.e2e.cluster.figures import NO_QUORUM_SECONDS, Figure, watched
from tests.e2e.cluster.key_cases import copy_folder, remove_copy
from tests.e2e.cluster.nodes import NodeDown
from tests.e2e.network import Namespaces

HALVES_SECONDS: Final = 25.0
ALONE_SECONDS: Final = 15.0
LISTENING_SECONDS: Final = 1.5
"""What a started authority listens before it votes (rule C16), and some more."""

NULLIFY_SECONDS: Final = 1.5
"""After so long without a certificate a view is nullified (rule C13), by the original alone here:
beside the copy's finalize that convicts, whichever of the two stops first after the heal."""


async def part_halves(cluster: Cluster) -> list[Figure]:
    """Two hear two: neither half makes a block; healed, the chain goes on."""
    network = _get_network(cluster)
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    network.split((2, 3))
    stalled = await demand_no_block(cluster, HALVES_SECONDS, *ALL)
    network.heal()
    healed = time.perf_counter()
    waiting = asyncio.create_task(cluster.wait_block(stalled, *ALL))
    connected = await cluster.wait_connected(*ALL, count=QUORUM)
    took = max(0.0, await waiting - connected)
    return [
        Figure("blocks without a quorum", 0, 0, unit=""),
        Figure("a quorum heard each other after the heal", connected - healed),
        Figure("next block after that", took, NO_QUORUM_SECONDS),
    ]


async def part_one(cluster: Cluster) -> list[Figure]:
    """Three go on without the one; it makes no block alone, and comes back."""
    network = _get_network(cluster)
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        await asyncio.sleep(LEAD_SECONDS)
        begin = time.perf_counter()
        network.split((3,))
        await demand_no_block(cluster, ALONE_SECONDS, 3)
        gaps = blocks.measure_gaps(begin, time.perf_counter())
    network.heal()
    healed = time.perf_counter()
    rejoined = await cluster.wait_rejoined(3)
    return [*gaps, Figure("at the tip after the heal", rejoined - healed)]


async def mute_one(cluster: Cluster) -> list[Figure]:
    """What one sends reaches none of the others, what they send reaches it: they go on."""
    network, others = _get_network(cluster), (0, 1, 2)
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        await asyncio.sleep(LEAD_SECONDS)
        begin = time.perf_counter()
        network.mute(3, others)
        await asyncio.sleep(ALONE_SECONDS)
        gaps = blocks.measure_gaps(begin, time.perf_counter())
    behind = await cluster.read_tip(3) - await cluster.nodes[3].read_height()
    network.unmute(3, others)
    healed = time.perf_counter()
    rejoined = await cluster.wait_rejoined(3)
    return [
        *gaps,
        Figure("blocks it was behind", behind, unit=""),
        Figure("at the tip after the heal", rejoined - healed),
    ]


async def mute_towards_one(cluster: Cluster) -> list[Figure]:
    """One reaches two of three: whatever the way of a message, all four stay at the tip."""
    network = _get_network(cluster)
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        begin = time.perf_counter()
        network.mute(3, (0,))
        await asyncio.sleep(ALONE_SECONDS)
        gaps = blocks.measure_gaps(begin, time.perf_counter())
        rejoined = await cluster.wait_rejoined(3) - begin - ALONE_SECONDS
    network.unmute(3, (0,))
    return [*gaps, Figure("at the tip while still cut, after", max(0.0, rejoined))]


async def copy_in_hearing(cluster: Cluster) -> list[Figure]:
    """A copied folder started on another host while the original runs: it stops, unsigned."""
    copy = copy_folder(cluster, 3)
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        begin = time.perf_counter()
        copy.start()
        code = await copy.wait_end(LIMIT_SECONDS)
        ended = time.perf_counter()
        await asyncio.sleep(LEAD_SECONDS)
        gaps = blocks.measure_gaps(begin, time.perf_counter())
    if code != ExitCode.CONFLICTING_SIGNATURE_SEEN:
        raise Violation(f"the copy ended with {code}: {copy.read_log()[-3:]}")
    if not cluster.nodes[3].is_running:
        raise Violation(f"the original stopped: {cluster.nodes[3].read_log()[-3:]}")
    remove_copy(cluster, copy)
    return [*gaps, Figure("the copy ended, exit code 22, after its start", ended - begin)]


async def copy_across_partition(cluster: Cluster) -> list[Figure]:
    """A copy votes with two, the original with one: healed, the key is convicted and removed.

    Both lead the same view, apart. The copy's block is final with {0, 1}; the original's is not
    with {2}, so that it nullifies the view. Raises `NotArranged` where that did not come about.
    """
    network, key = _get_network(cluster), cluster.nodes[3].wallet.public_key
    await _wait_for_turn(cluster, 3)
    copy = copy_folder(cluster, 3)
    network.split((2, 3))
    copy.start()
    await copy.wait_answer()
    await _wait_sessions(cluster, len(cluster.nodes) - 1, 2)
    await asyncio.sleep(LISTENING_SECONDS)
    before = await cluster.read_tip()
    await cluster.load.send_one(0, 2)
    await cluster.load.send_one(1, 0)
    await cluster.wait_block(before, 0, 1)
    await asyncio.sleep(NULLIFY_SECONDS)
    for each in (cluster.nodes[3], copy):
        cluster.signatures.take_journal(each.data, key)
    kinds = {conflict.kinds for conflict in cluster.signatures.list_conflicts()}
    if frozenset((VoteKind.NULLIFY, VoteKind.FINALIZE)) not in kinds:
        raise NotArranged("the two did not lead one view with different ends")
    network.heal()
    healed = time.perf_counter()
    removed = await wait_until(lambda: _is_removed(cluster, key)) - healed
    ends = f"the original {cluster.nodes[3].describe()}, the copy {copy.describe()}"
    cluster.load.start()
    block = await cluster.read_tip(3)
    await cluster.wait_block(block + 2, 0, 1, 2)
    await cluster.load.stop()
    cluster.nodes[3].end()
    remove_copy(cluster, copy)
    return [Figure(f"removed from the authorities after the heal ({ends})", removed)]


def _get_network(cluster: Cluster) -> Namespaces:
    assert isinstance(cluster.site, Namespaces)
    return cluster.site


async def _wait_for_turn(cluster: Cluster, number: int) -> None:
    """Return when all are in a view that this authority leads, with nothing to do."""
    for _ in range(4 * VALIDATORS):
        statuses = await asyncio.gather(*(cluster.nodes[n].read_status() for n in ALL))
        views = {status["view"] for status in statuses}
        if len(views) == 1 and views.pop() % VALIDATORS == number:
            return
        tip = max(status["height"] for status in statuses)
        await cluster.load.send_one(2, 2)
        await cluster.wait_block(tip, 2)
        for each in ALL:
            await cluster.wait_rejoined(each)
    raise Violation("no view in which all rest")


async def _wait_sessions(cluster: Cluster, number: int, count: int) -> None:
    """Return once a node has sessions with so many authorities."""

    async def has_sessions() -> bool:
        voters = (await cluster.nodes[number].read_status())["voters"]
        return bool(sum(voter["is_connected"] for voter in voters) >= count)

    await wait_until(has_sessions)


async def _is_removed(cluster: Cluster, key: bytes) -> bool:
    try:
        found = await cluster.nodes[0].read("/v1/chain/validators")
    except NodeDown:
        return False
    members = {validator["public_key"] for validator in found["validators"]}
    return key.hex() not in members and found["quorum"] == compute_quorum(VALIDATORS - 1)
