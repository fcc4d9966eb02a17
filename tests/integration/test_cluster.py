"""True nodes in one process: one chain, whichever node a client speaks to and whichever fails."""

import asyncio
import shutil
from pathlib import Path

import pytest

from consensus.effects import StopReason
from consensus.messages import Vote, encode_message
from ledger import codec, crypto
from ledger.ballots import Ballot, VoteKind, compute_vote_bytes
from ledger.transactions import AuthorityVote, Transfer
from node.consensus_driver import ConsensusStopped
from node.exit_codes import ExitCode
from node.peer_messages import HeadNotice, RangeAnswer, encode_news
from p2p.interface import Asked, Channel, Left, Received
from tests.support.cluster import WALLETS, Cluster, ClusterNode, running_cluster
from tests.support.network import Endpoint
from tests.support.node import CLIENT, MINER

PAYMENT = Transfer(MINER.address, 5)


async def pay(cluster: Cluster, number: int) -> int:
    """Send a transfer to a node; return the height at which it is final."""
    sent = await cluster.apis[number].send(CLIENT, PAYMENT)
    height: int = sent["height"]
    return height


async def join(cluster: Cluster, key: bytes = bytes(32)) -> Endpoint:
    """Return a peer with no node behind it."""
    stranger = cluster.hub.make(key)
    await stranger.start()
    return stranger


async def wait_lost(stranger: Endpoint, count: int) -> None:
    """Return once so many nodes have sent the stranger away."""
    async with asyncio.timeout(20):
        while count:
            count -= isinstance(await stranger.next_event(), Left)


async def test_a_transfer_sent_to_one_is_final_at_all(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        height = await pay(cluster, 0)
        await cluster.wait_height(height, 0, 1, 2, 3)
        assert len({await cluster.read_root(number, height) for number in range(4)}) == 1
        block = await cluster.apis[2].read(f"/explorer/blocks/{height}")
        assert len(block["certificate"]["signers"]) >= 3
        status = await cluster.apis[1].read("/v1/chain/status")
        assert (status["peers"], status["behind_by"]) == (3, 0)
        assert {voter["is_connected"] for voter in status["voters"] if not voter["is_self"]} == {
            True
        }


async def test_one_that_was_away_catches_up_and_votes_again(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        await pay(cluster, 0)
        await cluster.stop(3)
        height = [await pay(cluster, 1) for _ in range(25)][-1]
        await cluster.start(3)
        await cluster.wait_height(height, 3)
        await cluster.stop(2)
        # Without the one that was away there would be no quorum now.
        await cluster.wait_height(await pay(cluster, 1), 0, 1, 3)


async def test_without_a_quorum_nothing_is_decided(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        await pay(cluster, 0)
        await cluster.stop(2, 3)
        before = await cluster.read_height(0)
        signed = cluster.apis[0].sign(CLIENT, PAYMENT)
        accepted = await cluster.apis[0].post("/v1/transactions", {"raw": signed.raw.hex()})
        await asyncio.sleep(1.5)
        assert await cluster.read_height(0) == await cluster.read_height(1) == before
        await cluster.start(2, 3)
        found = await cluster.apis[0].wait_final(accepted.body["transaction_id"])
        await cluster.wait_height(found["height"], 0, 1, 2, 3)


async def test_an_observer_follows_and_passes_transactions_on(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4, observers=1) as cluster:
        height = await pay(cluster, 4)
        await cluster.wait_height(height, 0, 1, 2, 3, 4)
        assert await cluster.read_root(4, height) == await cluster.read_root(0, height)


async def test_a_wiped_authority_comes_back(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        height = [await pay(cluster, 0) for _ in range(3)][-1]
        await cluster.stop(1)
        cluster.nodes[1].wipe()
        await cluster.start(1)
        await cluster.wait_height(height, 1)
        await cluster.stop(2)
        await cluster.wait_height(await pay(cluster, 0), 0, 1, 3)


async def test_a_copy_of_a_key_stops_and_the_original_goes_on(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        await pay(cluster, 0)
        original = cluster.nodes[3]
        # A moment of a running folder, as a careless backup takes it.
        shutil.copytree(original.data, tmp_path / "copy")
        await pay(cluster, 0)
        copy = ClusterNode(tmp_path / "copy", original.wallet, cluster.genesis, cluster.hub)
        with pytest.raises(ExceptionGroup) as stopped:
            await copy.start(cluster.session)
        reason = stopped.value.exceptions[0]
        assert isinstance(reason, ConsensusStopped)
        assert reason.exit_code is ExitCode.CONFLICTING_SIGNATURE_SEEN
        assert StopReason.OWN_KEY_ELSEWHERE.value in str(reason)
        await cluster.wait_height(await pay(cluster, 0), 0, 1, 2, 3)


async def test_what_no_honest_node_sends_ends_the_session_alone(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        for channel in Channel:
            for data in (b"", b"\xc1", b"\x91" * 500, bytes(2_000)):
                stranger = await join(cluster)
                for number in list(stranger.sessions):
                    stranger.send(number, channel, data)
                await wait_lost(stranger, 4)
                await stranger.close()
        await cluster.wait_height(await pay(cluster, 0), 0, 1, 2, 3)


async def test_a_claimed_height_is_no_height(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4, observers=1) as cluster:
        await pay(cluster, 0)
        liar = await join(cluster)
        for number in list(liar.sessions):
            liar.send(number, Channel.TRANSACTIONS, encode_news(HeadNotice(10**9)))
        answered = 0
        async with asyncio.timeout(30):
            while answered < 3:
                match await liar.next_event():
                    case Asked(number, question, _):
                        # It gives nothing, or what is no answer at all.
                        answered += 1
                        liar.answer(number, question, codec.encode(RangeAnswer(0, 10**9, ())))
                        liar.send(number, Channel.TRANSACTIONS, encode_news(HeadNotice(10**9)))
                    case Received() | Left() | _:
                        pass
        await cluster.wait_height(await pay(cluster, 0), 0, 1, 2, 3, 4)
        status = await cluster.apis[4].read("/v1/chain/status")
        # It may be a block behind for a moment, and never by what one peer claims.
        assert status["behind_by"] <= 1


async def test_authorities_admit_one_more_and_it_votes(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4, observers=1) as cluster:
        added = WALLETS[4]
        vote = AuthorityVote(True, added.public_key, added.address)
        for number in range(3):
            sent = await cluster.apis[number].send(WALLETS[number], vote)
        # H + 1 is the old set's, H + 2 the new one's.
        await pay(cluster, 0)
        height = await pay(cluster, 0)
        assert height >= sent["height"] + 2
        found = await cluster.apis[0].read("/v1/chain/validators")
        assert (found["epoch"], len(found["validators"]), found["quorum"]) == (1, 5, 4)
        await cluster.stop(0)
        # Four of five are the quorum now, so that without the new one nothing would be final.
        height = await pay(cluster, 1)
        await cluster.wait_height(height, 1, 2, 3, 4)
        block = await cluster.apis[4].read(f"/explorer/blocks/{height}")
        assert block["certificate"]["signers"] == [1, 2, 3, 4]


async def test_who_votes_twice_in_one_view_is_removed(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, 4) as cluster:
        await pay(cluster, 0)
        await cluster.stop(3)
        offender = WALLETS[3]
        traitor = await join(cluster, offender.public_key)
        view = (await cluster.apis[0].read("/v1/chain/status"))["view"] + 1
        for block_hash in (bytes([1]) * 32, bytes([2]) * 32):
            ballot = Ballot(VoteKind.NOTARIZE, 0, view, block_hash)
            message = compute_vote_bytes(cluster.apis[0].chain_id, ballot)
            signature = crypto.sign(offender.seed, message)
            data = encode_message(Vote(ballot, 3, signature))
            for number in list(traitor.sessions):
                traitor.send(number, Channel.VOTES, data)
        async with asyncio.timeout(20):
            while True:
                found = await cluster.apis[1].read("/v1/chain/validators")
                if found["epoch"] == 1:
                    break
                await asyncio.sleep(0.05)
        keys = {validator["public_key"] for validator in found["validators"]}
        assert len(keys) == 3 and offender.public_key.hex() not in keys
        await cluster.wait_height(await pay(cluster, 0), 0, 1, 2)
