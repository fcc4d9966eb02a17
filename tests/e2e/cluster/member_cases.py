"""An authority that joins, and leaves again, while transfers go on."""

import asyncio
import json
import shutil
import sys
import time
from typing import Any, Final

from ledger.quorum import compute_quorum
from node import folder
from tests.e2e.cluster.checks import Violation
from tests.e2e.cluster.cluster import VALIDATORS, Cluster, wait_until
from tests.e2e.cluster.crash_cases import ALL, LEAD_SECONDS
from tests.e2e.cluster.figures import Figure, watched
from tests.e2e.cluster.key_cases import demand_votes, wait_signature
from tests.e2e.cluster.nodes import ClusterNode

NEW: Final = VALIDATORS
"""The number of the node that joins."""


async def change_authorities(cluster: Cluster) -> list[Figure]:
    """A fifth authority is voted in and signs, then it is voted out; the load never stops."""
    wallet = cluster.open_spare_wallet()
    data = cluster.path / "node-5"
    document = (cluster.path / "genesis.json").read_bytes()
    await asyncio.to_thread(folder.create_folder, data, document, wallet.seed)
    node = cluster.add_node(data.name, wallet, data)
    cluster.load.start()
    await cluster.start(NEW)
    await cluster.wait_rejoined(NEW)
    async with watched(cluster.nodes[0]) as blocks:
        await asyncio.sleep(LEAD_SECONDS)
        added = await _vote_all(cluster, node, "propose-add", VALIDATORS)
        await _wait_size(cluster, VALIDATORS + 1)
        in_force = time.perf_counter()
        first = await wait_signature(cluster, NEW) - in_force
        votes = await demand_votes(cluster, NEW, 2)
        removed = await _vote_all(cluster, node, "propose-remove", VALIDATORS + 1)
        await _wait_size(cluster, VALIDATORS)
        tip = await cluster.read_tip()
        await cluster.wait_block(tip + 2, *ALL)
    await cluster.load.stop()
    await node.stop()
    cluster.signatures.take_journal(node.data, node.wallet.public_key)
    cluster.nodes.remove(node)
    shutil.rmtree(data)
    longest = max(b - a for a, b in zip(blocks.moments, blocks.moments[1:], strict=False))
    return [
        Figure("votes to add", added, unit=""),
        Figure("it signed after", first),
        votes,
        Figure("votes to remove", removed, unit=""),
        Figure("longest gap, one of them killed in between", longest),
    ]


async def _vote_all(cluster: Cluster, node: ClusterNode, action: str, size: int) -> int:
    """Let a quorum vote for a change, by the command; return how many votes that took."""
    key = node.wallet.public_key.hex()
    record = await _run(cluster.nodes[0], action, key)
    proposal = record["proposal_id"]
    voters = [cluster.nodes[number] for number in ALL]
    for count in range(2, compute_quorum(size) + 1):
        record = await _run(voters[count - 1], "vote", proposal)
    if not record["passed"]:
        raise Violation(f"{action}: {record['votes']} of {record['quorum']} votes did not pass it")
    return int(record["votes"])


async def _run(node: ClusterNode, action: str, subject: str) -> Any:
    """Run `aitbc validators` with a node's key, at that node."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aitbc.cli.main", "validators", action, subject, "--json",
        "--data", str(node.data), "--api-url", node.url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    return json.loads(output)


async def _wait_size(cluster: Cluster, size: int) -> None:
    """Return once all know that so many authorities are in force."""

    async def is_in_force() -> bool:
        found = [await cluster.nodes[number].read("/v1/chain/validators") for number in ALL]
        return all(len(each["validators"]) == size for each in found)

    await wait_until(is_in_force)
