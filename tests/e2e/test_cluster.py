"""The part of `make e2e` that needs no privilege and little time: what holds, not how fast.

The bounds on times are for `make e2e`, which has the machine to itself.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aitbc.wallet import Wallet
from consensus.journal import JournalHead, SignedVote, encode_frame
from consensus.messages import Vote
from ledger.ballots import NO_BLOCK, Ballot, VoteKind
from node.folder import JOURNAL_FILE
from tests.e2e.cluster.cases import Case, run_case
from tests.e2e.cluster.checks import Violation, check_cluster
from tests.e2e.cluster.cluster import Cluster, running_cluster
from tests.e2e.cluster.crash_cases import kill_all, kill_one
from tests.e2e.cluster.figures import Figure, measure_gaps
from tests.e2e.cluster.key_cases import copy_on_this_host, wipe_one
from tests.e2e.cluster.load import Accepted
from tests.e2e.cluster.signatures import Signatures

DEAD_SECONDS = 5.0


async def kill_one_shortly(cluster: Cluster) -> list[Figure]:
    return await kill_one(cluster, DEAD_SECONDS)


CASES: dict[str, Callable[[Cluster], Awaitable[list[Figure]]]] = {
    "one killed": kill_one_shortly,
    "all killed": kill_all,
    "a copied folder": copy_on_this_host,
    "a wiped node": wipe_one,
}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_four_validators_stay_one_chain_through_every_fault(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        for name, case in CASES.items():
            report = await run_case(cluster, Case(name, case))
            print(report.line)
        await check_the_check(cluster)


async def check_the_check(cluster: Cluster) -> None:
    """A check that finds nothing proves something only if it finds what is put there."""
    height, block = max(cluster.block_hashes.items())
    cluster.block_hashes[height] = (block[0], "00" * 32)
    cluster.checked.clear()
    with pytest.raises(Violation, match="another block"):
        await check_cluster(cluster)
    cluster.block_hashes[height] = block
    cluster.load.accepted["tx_lost"] = Accepted("node-1", 0.0)
    with pytest.raises(Violation, match="1 lost"):
        await check_cluster(cluster)
    del cluster.load.accepted["tx_lost"]
    cluster.load.lines[0].nonce += 2  # one may truly have had no answer
    with pytest.raises(Violation, match="nonce"):
        await check_cluster(cluster)


@pytest.mark.parametrize(
    ("ballots", "conflicts"),
    [
        (((VoteKind.NOTARIZE, b"a"), (VoteKind.NULLIFY, b"")), 0),
        (((VoteKind.NOTARIZE, b"a"), (VoteKind.FINALIZE, b"a")), 0),
        (((VoteKind.NOTARIZE, b"a"), (VoteKind.NOTARIZE, b"b")), 1),
        (((VoteKind.NULLIFY, b""), (VoteKind.FINALIZE, b"a")), 1),
    ],
)
def test_signatures_that_conflict_are_found_across_journals(
    tmp_path: Path, ballots: tuple[tuple[VoteKind, bytes], ...], conflicts: int
) -> None:
    chain_id, key = os.urandom(32), Wallet(os.urandom(32)).public_key
    signatures = Signatures(chain_id)
    for number, (kind, name) in enumerate(ballots):
        data = tmp_path / str(number)
        data.mkdir()
        ballot = Ballot(kind, 0, 7, name.ljust(32, b"\0") if name else NO_BLOCK)
        head = JournalHead(1, chain_id, key, 0, 0, 0, False)
        vote = SignedVote(1, Vote(ballot, 0, bytes(64)))
        (data / JOURNAL_FILE).write_bytes(encode_frame((head, vote)))
        signatures.take_journal(data, key)
    assert signatures.count == 2
    assert [found.key for found in signatures.list_conflicts()] == [key] * conflicts


def test_a_gap_is_measured_from_the_last_block_before_the_fault_to_the_end() -> None:
    moments = [9.0, 9.5, 10.5, 11.0, 13.5]
    mean, longest = measure_gaps(moments, 10.0, 14.0)
    assert (mean.value, mean.is_met) == (4 / 3, False)
    assert (longest.value, longest.is_met) == (2.5, False)
    assert "NOT MET" in str(longest)
    assert measure_gaps(moments, 10.0, 20.0)[1].value == 6.5
    assert all(figure.is_met for figure in measure_gaps(moments, 8.0, 10.0))
    with pytest.raises(AssertionError, match="no block"):
        measure_gaps(moments, 14.0, 20.0)
