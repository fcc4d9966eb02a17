"""What of a peer's gossip reaches libp2p's GossipSub: only what cannot harm it (rule W9).

One frame that is no protobuf, or a message with a damaged key, raises out of the library and ends
everything that runs beside it. So each frame is decoded here first, what is well-formed and of our
one topic is copied into a new frame, and the rest is dropped and counted.
"""

from typing import Any, Final

from ledger.rejection import Rejected, Rejection
from p2p.counters import Counters
from p2p.interface import MAX_ANNOUNCEMENT_BYTES
from p2p.libp2p_parts import (
    rpc_pb2,
)
from p2p.limits import TokenBucket

TOPIC: Final = "aitbc/announcements/1"
MAX_RPC_BYTES: Final = 64 * 1024
MAX_MESSAGES: Final = 64
MAX_CONTROLS: Final = 8
MAX_IDS: Final = 128
MAX_PRUNE_SECONDS: Final = 600
MESSAGES_PER_SECOND: Final = 20
"""Of one peer, with four times that at once; GossipSub passes on what others wrote as well."""
ALL_PER_SECOND: Final = 50
"""Of all peers together, with four times that at once: the library takes 2 to 5 ms for each."""

_AUTHOR_HEAD: Final = bytes([0x00, 36, 0x08, 0x01, 0x12, 32])
_AUTHOR_BYTES: Final = len(_AUTHOR_HEAD) + 32
_SEQUENCE_BYTES: Final = 8
_ID_BYTES: Final = _AUTHOR_BYTES + _SEQUENCE_BYTES


class GossipFilter:
    """The filter in front of one peer's gossip."""

    def __init__(self, counters: Counters, now: float, shared: TokenBucket) -> None:
        self._counters = counters
        self._shared = shared
        self._bucket = TokenBucket(MESSAGES_PER_SECOND, 4 * MESSAGES_PER_SECOND, now)

    def clean(self, data: bytes, now: float) -> bytes:
        """Return the harmless part of a frame, perhaps nothing.

        Raises `Rejected(MALFORMED)` when it is no frame of GossipSub at all.
        """
        rpc: Any = rpc_pb2.RPC()
        try:
            rpc.ParseFromString(data)
        except Exception:  # noqa: BLE001 - no remote byte may end the process
            raise Rejected(Rejection.MALFORMED, "not a frame of GossipSub") from None
        clean: Any = rpc_pb2.RPC()
        for message in self._limit(rpc.publish, MAX_MESSAGES, "message"):
            if not _is_well_formed(message):
                self._drop("malformed_message")
            elif not (self._bucket.try_take(1, now) and self._shared.try_take(1, now)):
                self._drop("message_over_rate")
            else:
                self._counters.add("gossip", "received")
                clean.publish.add(
                    from_id=message.from_id,
                    data=message.data,
                    seqno=message.seqno,
                    topicIDs=[TOPIC],
                    signature=message.signature,
                )
        for change in self._limit(rpc.subscriptions, MAX_CONTROLS, "subscription"):
            if change.topicid == TOPIC:
                clean.subscriptions.add(subscribe=change.subscribe, topicid=TOPIC)
        if rpc.HasField("control"):
            self._clean_control(rpc.control, clean.control)
        return bytes(clean.SerializeToString())

    def _clean_control(self, control: Any, clean: Any) -> None:
        for have in self._limit(control.ihave, MAX_CONTROLS, "control"):
            if have.topicID == TOPIC:
                clean.ihave.add(topicID=TOPIC, messageIDs=self._keep_ids(have.messageIDs))
        for want in self._limit(control.iwant, MAX_CONTROLS, "control"):
            clean.iwant.add(messageIDs=self._keep_ids(want.messageIDs))
        for graft in self._limit(control.graft, MAX_CONTROLS, "control"):
            if graft.topicID == TOPIC:
                clean.graft.add(topicID=TOPIC)
        for prune in self._limit(control.prune, MAX_CONTROLS, "control"):
            if prune.topicID == TOPIC:
                clean.prune.add(topicID=TOPIC, backoff=min(prune.backoff, MAX_PRUNE_SECONDS))

    def _keep_ids(self, ids: Any) -> list[bytes]:
        known = [each for each in self._limit(ids, MAX_IDS, "id") if len(each) == _ID_BYTES]
        return [bytes(each) for each in known]

    def _limit(self, items: Any, limit: int, kind: str) -> Any:
        if len(items) > limit:
            self._drop(f"{kind}_over_limit", len(items) - limit)
        return items[:limit]

    def _drop(self, reason: str, amount: int = 1) -> None:
        self._counters.add("dropped", f"gossip_{reason}", amount)


def find_author(message: Any) -> bytes:
    """Return the peer id, in bytes, that signed a message."""
    return bytes(message.from_id)


def _is_well_formed(message: Any) -> bool:
    """Tell whether GossipSub can take a message; whether the signature holds, it finds itself."""
    return (
        list(message.topicIDs) == [TOPIC]
        and len(message.data) <= MAX_ANNOUNCEMENT_BYTES
        and len(message.from_id) == _AUTHOR_BYTES
        and message.from_id.startswith(_AUTHOR_HEAD)
        and len(message.seqno) == _SEQUENCE_BYTES
        and len(message.signature) == 64
    )
