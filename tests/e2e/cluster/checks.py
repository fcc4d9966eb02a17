"""What must hold after every fault: one chain, nothing accepted lost, no vote against another."""

import asyncio
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from ledger import crypto
from tests.e2e.cluster.cluster import LIMIT_SECONDS, Cluster, wait_until
from tests.e2e.cluster.nodes import ClusterNode, NodeDown

PAGE: Final = 100


class Violation(AssertionError):
    """Something that no fault excuses."""


class Checked(NamedTuple):
    """How much a check has compared, so that a figure of no violations says of what."""

    blocks: int
    accepted: int
    signatures: int


async def check_cluster(cluster: Cluster, offenders: Collection[bytes] = ()) -> Checked:
    """Stop the load, let every running node come to rest, and compare them. Raises `Violation`.

    `offenders` are keys that were made to sign against themselves: each must have.
    """
    await cluster.load.stop()
    nodes = cluster.running
    _demand(bool(nodes), "no node runs")
    height = await _wait_at_rest(nodes)
    for node in nodes:
        await _compare_blocks(cluster, node, height)
    await _check_transactions(cluster, nodes)
    await _check_money(cluster, nodes)
    _check_signatures(cluster, offenders)
    return Checked(height, len(cluster.load.accepted), cluster.signatures.count)


async def _wait_at_rest(nodes: list[ClusterNode]) -> int:
    """Return the height at which all nodes are, with nothing waiting at any."""
    heads: list[Any] = []

    async def is_at_rest() -> bool:
        heads.clear()
        try:
            heads.extend(await asyncio.gather(*(node.read_status() for node in nodes)))
        except NodeDown:
            return False
        is_idle = all(head["mempool"]["transactions"] == 0 for head in heads)
        return is_idle and len({head["height"] for head in heads}) == 1

    try:
        await wait_until(is_at_rest, LIMIT_SECONDS)
    except TimeoutError:
        stands = ", ".join(
            f"{head['height']} with {head['mempool']['transactions']} waiting" for head in heads
        )
        raise Violation(f"the nodes do not come to one height: {stands}") from None
    height: int = heads[0]["height"]
    return height


async def _compare_blocks(cluster: Cluster, node: ClusterNode, height: int) -> None:
    """Compare a node's blocks, from where it was compared before, with those of the others."""
    first = cluster.checked.get(node.name, 0)
    before = height + 1
    while before > first + 1:
        limit = min(PAGE, before - first - 1)
        blocks = await node.read(f"/explorer/blocks?limit={limit}&before={before}")
        _demand(len(blocks) == limit, f"{node.name} shows {len(blocks)} of {limit} blocks")
        for block in blocks:
            _demand(block["height"] == before - 1, f"{node.name} lacks block {before - 1}")
            before -= 1
            found = (block["hash"], block["state_root"])
            known = cluster.block_hashes.setdefault(before, found)
            _demand(found == known, f"{node.name} has another block {before}: {found}, {known}")
    cluster.checked[node.name] = height


async def _check_transactions(cluster: Cluster, nodes: list[ClusterNode]) -> None:
    """Every accepted transaction is final exactly once, and did what it says."""
    for height in range(cluster.scanned + 1, max(cluster.block_hashes) + 1):
        for name in (await nodes[0].read(f"/explorer/blocks/{height}"))["transaction_ids"]:
            _demand(name not in cluster.final_ids, f"{name} is final twice")
            cluster.final_ids.add(name)
    cluster.scanned = max(cluster.block_hashes)
    lost = [name for name in cluster.load.accepted if name not in cluster.final_ids]
    if lost:
        accepted = cluster.load.accepted[lost[0]]
        raise Violation(f"{len(lost)} lost, the first {lost[0]} accepted by {accepted.node}")
    sent = 0
    for line in cluster.load.lines:
        account = await nodes[0].read(f"/v1/accounts/{line.wallet.text_address}")
        is_known = account["nonce"] - line.nonce == 0 or (
            # The one whose answer never came may have been accepted all the same.
            line.unanswered is not None and account["nonce"] - line.nonce == 1
        )
        _demand(is_known, f"nonce {account['nonce']} after {line.nonce} accepted transfers")
        sent += account["nonce"]
    payee = await nodes[0].read(f"/v1/accounts/{crypto.format_address(cluster.load.payee)}")
    received = int(payee["balance_base"])
    _demand(received == sent, f"{sent} transfers brought {received} base units")


async def _check_money(cluster: Cluster, nodes: list[ClusterNode]) -> None:
    genesis = await nodes[0].read("/v1/audit/supply?height=0")
    for node in nodes:
        supply = await node.read("/v1/audit/supply")
        is_whole = supply["balanced"] and supply["supply_base"] == genesis["supply_base"]
        _demand(is_whole, f"{node.name}: the money does not add up: {supply}")


def _check_signatures(cluster: Cluster, offenders: Collection[bytes]) -> None:
    for node in cluster.nodes:
        if node.data.exists():
            cluster.signatures.take_journal(node.data, node.wallet.public_key)
    conflicts = cluster.signatures.list_conflicts()
    found = [f"{each.key.hex()}: {each.text}" for each in conflicts if each.key not in offenders]
    _demand(not found, f"conflicting signatures: {'; '.join(found)}")
    innocent = set(offenders) - {each.key for each in conflicts}
    _demand(not innocent, "the key that was made to conflict did not")


def _demand(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Violation(otherwise)
