"""Whom this node is connected to, and which authority has not voted."""

from typing import Final

from coordinator.http.routing import PUBLIC, Answer, Call, Route
from ledger.ballots import VoteKind
from node.clock import get_monotonic_time
from node.routes import models
from node.routes.reader import ChainReader
from p2p.interface import PeerStatus

_TAG: Final = "Chain"


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of the network."""

    async def show_peers(call: Call) -> Answer:
        return Answer(
            models.Peers(
                peer_id=reader.peers.own_peer_id,
                peers=[_describe_peer(*each) for each in reader.peers.list_status()],
                behind_by=reader.peers.compute_behind_by(),
            )
        )

    return (
        Route(
            "GET", "/v1/chain/peers", show_peers, "The nodes this one is connected to", _TAG,
            roles=PUBLIC, answers={200: models.Peers},
        ),
    )  # fmt: skip


def list_voters(reader: ChainReader) -> list[models.Voter]:
    """Return the authorities in force, each with the newest vote of it that was heard here."""
    driver, now = reader.driver, get_monotonic_time()
    voters = []
    for index, member in enumerate(driver.committee.authorities.members):
        last = driver.attendance.get(index)
        voters.append(
            models.Voter(
                index=index,
                public_key=member.key.hex(),
                is_self=member.key == driver.key,
                is_connected=reader.peers.is_connected(member.key),
                last_view=last.view if last else None,
                last_vote=VoteKind(last.kind).name.lower() if last else None,
                silent_ms=now - last.heard_at if last else None,
            )
        )
    return voters


def _describe_peer(status: PeerStatus, height: int, is_authority: bool) -> models.Peer:
    # Without its network address: whoever asks is anybody.
    session = status.session
    return models.Peer(
        peer_id=session.peer_id,
        public_key=session.key.hex(),
        is_authority=is_authority,
        is_inbound=session.is_inbound,
        agent=session.agent,
        height=max(0, height),
        latency_ms=None if status.latency_ms is None else round(status.latency_ms, 2),
        connected_seconds=round(status.connected_seconds, 1),
        bytes_received=status.bytes_received,
        bytes_sent=status.bytes_sent,
    )
