"""What of a peer's gossip goes on to the library: well-formed, of one topic, and not too much."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rejection import Rejected, Rejection
from p2p.counters import Counters
from p2p.gossip_filter import (
    ALL_PER_SECOND,
    MAX_IDS,
    MAX_MESSAGES,
    MESSAGES_PER_SECOND,
    TOPIC,
    GossipFilter,
)
from p2p.libp2p_parts import rpc_pb2
from p2p.limits import TokenBucket

AUTHOR = bytes([0, 36, 8, 1, 18, 32]) + b"k" * 32
MESSAGE: dict[str, object] = {
    "from_id": AUTHOR,
    "data": b"news",
    "seqno": b"12345678",
    "topicIDs": [TOPIC],
    "signature": bytes(64),
}


def make_filter(counters: Counters) -> GossipFilter:
    return GossipFilter(counters, 0.0, TokenBucket(ALL_PER_SECOND, 4 * ALL_PER_SECOND, 0.0))


class Filter:
    def __init__(self) -> None:
        self.counters = Counters()
        self._filter = make_filter(self.counters)

    def clean(self, rpc: Any, now: float = 0.0) -> Any:
        cleaned: Any = rpc_pb2.RPC()
        cleaned.ParseFromString(self._filter.clean(rpc.SerializeToString(), now))
        return cleaned

    @property
    def dropped(self) -> dict[str, int]:
        return self.counters.get_snapshot().get("dropped", {})


def make_rpc(*messages: dict[str, object]) -> Any:
    rpc: Any = rpc_pb2.RPC()
    for message in messages:
        rpc.publish.add(**message)
    return rpc


def test_a_message_passes_without_what_the_library_would_stumble_over() -> None:
    rpc = make_rpc(MESSAGE | {"key": b"\x08\x01\x12\x03abc"})
    rpc.senderRecord = b"garbage"
    cleaned = Filter().clean(rpc)
    assert cleaned == make_rpc(MESSAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"from_id": b""},
        {"from_id": AUTHOR[:-1]},
        {"from_id": AUTHOR + b"x"},
        {"from_id": b"\x12\x20" + bytes(32)},
        {"from_id": bytes([0, 36, 8, 0, 18, 32]) + bytes(32)},
        {"data": bytes(1025)},
        {"seqno": b""},
        {"seqno": bytes(9)},
        {"topicIDs": []},
        {"topicIDs": ["other"]},
        {"topicIDs": [TOPIC, TOPIC]},
        {"signature": b""},
        {"signature": bytes(63)},
    ],
)
def test_a_message_that_is_not_well_formed_is_dropped_and_its_neighbours_are_not(
    change: dict[str, object],
) -> None:
    tested = Filter()
    assert tested.clean(make_rpc(MESSAGE | change, MESSAGE)) == make_rpc(MESSAGE)
    assert tested.dropped == {"gossip_malformed_message": 1}


def test_messages_over_the_rate_and_over_the_number_are_dropped() -> None:
    tested = Filter()
    kept = 0
    for _ in range(10):
        kept += len(tested.clean(make_rpc(*[MESSAGE] * (MAX_MESSAGES + 1))).publish)
    assert kept == 4 * MESSAGES_PER_SECOND
    assert tested.dropped["gossip_message_over_limit"] == 10
    assert tested.dropped["gossip_message_over_rate"] == 10 * MAX_MESSAGES - kept
    assert len(tested.clean(make_rpc(*[MESSAGE] * 9), now=100.0).publish) == 9


def test_all_peers_share_a_rate() -> None:
    shared = TokenBucket(ALL_PER_SECOND, 4 * ALL_PER_SECOND, 0.0)
    data = make_rpc(*[MESSAGE] * 60).SerializeToString()
    kept = 0
    for _ in range(10):
        rpc: Any = rpc_pb2.RPC()
        rpc.ParseFromString(GossipFilter(Counters(), 0.0, shared).clean(data, 0.0))
        kept += len(rpc.publish)
    assert kept == 4 * ALL_PER_SECOND


def test_control_messages_pass_as_far_as_they_make_sense() -> None:
    rpc = make_rpc()
    rpc.subscriptions.add(subscribe=True, topicid=TOPIC)
    rpc.subscriptions.add(subscribe=True, topicid="other")
    identifier = AUTHOR + b"12345678"
    rpc.control.ihave.add(topicID=TOPIC, messageIDs=[identifier, b"short"])
    rpc.control.ihave.add(topicID="other", messageIDs=[identifier])
    rpc.control.iwant.add(messageIDs=[identifier] * (MAX_IDS + 5))
    rpc.control.graft.add(topicID=TOPIC)
    rpc.control.graft.add(topicID="other")
    rpc.control.prune.add(topicID=TOPIC, backoff=2**63)
    rpc.control.prune[0].peers.add(peerID=b"made up")
    rpc.control.idontwant.add(messageIDs=[identifier])
    tested = Filter()
    cleaned = tested.clean(rpc)
    assert [change.topicid for change in cleaned.subscriptions] == [TOPIC]
    assert [list(have.messageIDs) for have in cleaned.control.ihave] == [[identifier]]
    assert [len(want.messageIDs) for want in cleaned.control.iwant] == [MAX_IDS]
    assert [graft.topicID for graft in cleaned.control.graft] == [TOPIC]
    assert [(prune.backoff, len(prune.peers)) for prune in cleaned.control.prune] == [(600, 0)]
    assert not cleaned.control.idontwant
    assert tested.dropped == {"gossip_id_over_limit": 5}


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\x0a\x05abc", b"garbage"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        make_filter(Counters()).clean(data, 0.0)
    assert refused.value.reason is Rejection.MALFORMED


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for frame in (data, make_rpc(MESSAGE | {"data": data}).SerializeToString() + data):
        try:
            make_filter(Counters()).clean(frame, 0.0)
        except Rejected as error:
            assert error.reason is Rejection.MALFORMED
