"""A key's own past in danger: its journal lost or old, its folder wiped, or copied and started."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node.exit_codes import ExitCode
from node.folder import JOURNAL_FILE
from tests.e2e.cluster.checks import Violation, check_cluster
from tests.e2e.cluster.cluster import VALIDATORS, Cluster, wait_until
from tests.e2e.cluster.crash_cases import LEAD_SECONDS
from tests.e2e.cluster.figures import Figure, watched
from tests.e2e.cluster.nodes import START_SECONDS, ClusterNode

TORN_BYTES: Final = 40
"""Less than the first frame of a journal has."""

VOTING_SECONDS: Final = 6.0
"""How long the chain must go on with the one that came back in the quorum."""


async def spoil_journal(cluster: Cluster) -> list[Figure]:
    """The journal deleted, truncated, damaged, older: no start. A torn last frame: a start."""
    node = cluster.nodes[3]
    path = node.data / JOURNAL_FILE
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    older = path.read_bytes()
    await asyncio.sleep(LEAD_SECONDS)
    assert await node.stop() == ExitCode.OK
    whole = path.read_bytes()
    spoilt: dict[str, Callable[[], object]] = {
        "deleted": path.unlink,
        "truncated": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "emptied": lambda: path.write_bytes(b""),
        "damaged": lambda: path.write_bytes(_flip(whole, len(whole) // 2)),
        "older": lambda: path.write_bytes(older),
    }
    for name, spoil in spoilt.items():
        spoil()
        before = _read_folder(node.data)
        await _demand_refusal(node, ExitCode.SIGN_STATE_MISSING_OR_OLD, name)
        if _read_folder(node.data) != before:
            raise Violation(f"a refused start changed the folder ({name})")
    # What a crash in the middle of a signature leaves: the begin of a frame, and nothing sent.
    path.write_bytes(whole + whole[:TORN_BYTES])
    await cluster.start(3)
    await cluster.wait_rejoined(3)
    return [Figure("refused starts, exit code 21", len(spoilt), unit="")]


async def wipe_one(cluster: Cluster) -> list[Figure]:
    """A validator whose disk is gone comes back with its key alone, catches up and votes."""
    node = cluster.nodes[3]
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    # What it alone has accepted goes with its disk: that much is waited for.
    await check_cluster(cluster)
    assert await node.stop() == ExitCode.OK
    cluster.signatures.take_journal(node.data, node.wallet.public_key)
    await asyncio.to_thread(node.wipe)
    cluster.checked.pop(node.name)
    cluster.load.start()
    answered = await cluster.start(3)
    rejoined = await cluster.wait_rejoined(3)
    signed = await wait_signature(cluster, 3)
    return [
        Figure("at the tip after its API answered", rejoined - answered),
        Figure("its first signature in a block after", signed - answered),
        await demand_votes(cluster, 3, 2),
    ]


async def copy_on_this_host(cluster: Cluster) -> list[Figure]:
    """A copied folder started on the same host: refused before it signs anything."""
    copy = copy_folder(cluster, 3)
    cluster.load.start()
    await asyncio.sleep(LEAD_SECONDS)
    async with watched(cluster.nodes[0]) as blocks:
        await _demand_refusal(copy, ExitCode.DATA_FOLDER_LOCKED, "copy")
        await asyncio.sleep(LEAD_SECONDS)
    if not blocks.moments:
        raise Violation("the chain stood still beside a refused copy")
    remove_copy(cluster, copy)
    return [Figure("refused starts, exit code 16", 1, unit="")]


async def wait_signature(cluster: Cluster, number: int) -> float:
    """Return the moment from which blocks carry a validator's signature: it listens first (C16)."""

    async def has_signed() -> bool:
        tip = await cluster.nodes[0].read_height()
        block = await cluster.nodes[0].read(f"/explorer/blocks/{tip}")
        certificate = block["certificate"]
        return certificate is not None and number in certificate["signers"]

    return await wait_until(has_signed)


async def demand_votes(cluster: Cluster, number: int, without: int) -> Figure:
    """Kill another validator: blocks then need the signature of this one. Start it again."""
    cluster.nodes[without].kill()
    others = [each for each in range(VALIDATORS) if each != without]
    before = await cluster.read_tip(without)
    await cluster.wait_block(before + 1, *others)
    await asyncio.sleep(VOTING_SECONDS)
    tip = await cluster.nodes[others[0]].read_height()
    signed = 0
    for height in range(before + 2, tip + 1):
        block = await cluster.nodes[others[0]].read(f"/explorer/blocks/{height}")
        signed += number in block["certificate"]["signers"]
    if not signed:
        raise Violation(f"{cluster.nodes[number].name} signed none of {tip - before} blocks")
    await cluster.start(without)
    await cluster.wait_rejoined(without)
    return Figure("then blocks that needed its signature", signed, unit="")


def copy_folder(cluster: Cluster, number: int) -> ClusterNode:
    """Copy a running node's folder, as a careless backup does; return the copy as a node."""
    original = cluster.nodes[number]
    data = cluster.path / f"{original.name}-copy"
    shutil.copytree(original.data, data)
    return cluster.add_node(f"{original.name}-copy", original.wallet, data)


def remove_copy(cluster: Cluster, copy: ClusterNode) -> None:
    """Forget a copy that has ended, once what it signed is noted."""
    copy.end()
    cluster.signatures.take_journal(copy.data, copy.wallet.public_key)
    cluster.nodes.remove(copy)
    shutil.rmtree(copy.data)


async def _demand_refusal(node: ClusterNode, code: ExitCode, name: str) -> None:
    node.start()
    found = await node.wait_end(START_SECONDS)
    if found != code:
        tail = "\n".join(node.read_log()[-6:])
        raise Violation(f"{node.name} ({name}) ended with {found}, not {int(code)}:\n{tail}")


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _read_folder(data: Path) -> dict[str, bytes]:
    """Return what a refused start must leave as it was."""
    names = ("genesis.json", "journal.bin", "node.db", "node.key", "database.key")
    return {name: (data / name).read_bytes() for name in names if (data / name).exists()}
