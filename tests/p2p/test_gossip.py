"""When the library fails all the same, gossip begins anew and nothing else ends."""

from typing import Any

import trio
from trio.testing import MockClock

from p2p.counters import Counters
from p2p.gossip import Gossip, GossipPeer
from p2p.gossip_filter import TOPIC
from p2p.host import Host
from p2p.interface import Announced
from p2p.libp2p_parts import StreamEOF, rpc_pb2
from tests.p2p.networks import identify

HOST = Host(identify(1).transport_seed)


class UnfilteredStream:
    """A peer's stream that reaches the library as it is: what the filter is there for."""

    metric_send_channel = None

    def __init__(self, peer: Any, frame: bytes) -> None:
        self.muxed_conn = peer
        self._rest = bytes([len(frame) & 0x7F | 0x80, len(frame) >> 7]) + frame

    async def read(self, n: int | None = None) -> bytes:
        if not self._rest:
            raise StreamEOF("no more")
        data, self._rest = self._rest[:n], self._rest[n or len(self._rest) :]
        return data

    async def reset(self) -> None:
        self._rest = b""


def make_harmful_frame() -> bytes:
    """Return a message whose key the library reads without looking whether it is one."""
    rpc: Any = rpc_pb2.RPC()
    rpc.publish.add(
        from_id=b"\x12\x20" + bytes(32),
        data=b"news",
        seqno=bytes(8),
        topicIDs=[TOPIC],
        signature=bytes(64),
        key=b"\x08\x01\x12\x03abc",
    )
    return bytes(rpc.SerializeToString())


def test_a_frame_that_passes_the_filter_ends_gossip_for_a_second_at_most() -> None:
    heard: list[Announced] = []

    async def main() -> None:
        counters = Counters()
        gossip = Gossip(HOST, counters, heard.append)
        peer = GossipPeer(HOST.id, None)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gossip.run)
            await trio.sleep(1)
            first = gossip._host.handler
            await first(UnfilteredStream(peer, make_harmful_frame()))
            await trio.sleep(5)
            assert counters.get_snapshot()["gossip"] == {"restarted": 1}
            assert gossip._host.handler != first
            gossip.announce(b"still here")
            await trio.sleep(1)
            assert counters.get_snapshot()["gossip"]["announced"] == 1
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert heard == []


def test_announcements_that_nobody_takes_are_dropped_and_counted() -> None:
    async def main() -> None:
        counters = Counters()
        gossip = Gossip(HOST, counters, lambda announced: None)
        for _ in range(70):
            gossip.announce(b"news")
        assert counters.get_snapshot() == {"dropped": {"announcement_queue_full": 6}}

    trio.run(main)
