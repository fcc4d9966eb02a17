"""Peers that do not keep to the protocol, up to any stage of it, over real connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from ledger import codec
from p2p.addresses import parse_address
from p2p.directory import PeerRecord
from p2p.frames import encode_frame
from p2p.guard import GuardedConnection
from p2p.handshake import PROTOCOLS, greet_as_dialler
from p2p.hello import Hello
from p2p.host import Host, open_stream
from p2p.limits import CONTROL, Lane
from p2p.multiplexer import Multiplexer, Stream
from tests.p2p.networks import CHAIN, SECONDS, identify

INSTANCE = bytes(16)


def run_attack(attack: Callable[[], Awaitable[None]]) -> "asyncio.Future[None]":
    """Run an attack on trio, in a thread, beside the test."""

    async def run() -> None:
        with trio.fail_after(SECONDS):
            await attack()

    return asyncio.ensure_future(asyncio.to_thread(trio.run, run))


async def connect(address: str) -> trio.SocketStream:
    """Return a bare TCP connection to a network's address."""
    parsed = parse_address(address)
    return await trio.open_tcp_stream(parsed.host, parsed.port)


@asynccontextmanager
async def run_streams(
    number: int, address: str
) -> AsyncIterator[tuple[Multiplexer, GuardedConnection]]:
    """Yield streams over Noise with a proved identity; nothing has been said yet."""
    raw = GuardedConnection(await connect(address), is_initiator=True)
    raw.release()
    host = Host(identify(number).transport_seed)
    _, streams = await host.secure(raw, parse_address(address).peer_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run, streams)
        try:
            yield streams, raw
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await raw.close()


async def _run(streams: Multiplexer) -> None:
    try:
        await streams.run()
    except Exception as error:  # noqa: BLE001 - the network may well cut an attacker off
        print(f"cut off: {type(error).__name__}: {error}")


def make_hello(number: int, chain_id: bytes = CHAIN) -> Hello:
    identity = identify(number, chain_id)
    return Hello(
        chain_id=chain_id,
        key=identity.key,
        binding=identity.binding,
        instance=INSTANCE,
        agent="attacker",
        addresses=(),
    )


@asynccontextmanager
async def run_session(
    number: int, address: str
) -> AsyncIterator[tuple[Multiplexer, dict[Lane, Stream]]]:
    """Yield a session that was admitted; whatever the network sends is read by nobody."""
    async with run_streams(number, address) as (streams, _):
        own = Host(identify(number).transport_seed).peer_id
        peer_id = parse_address(address).peer_id
        _, lanes = await greet_as_dialler(
            streams, peer_id, make_hello(number), own, lambda hello: None
        )
        yield streams, lanes


async def open_control(streams: Multiplexer) -> Stream:
    return await open_stream(streams, PROTOCOLS[CONTROL], 0)


def encode_record(record: PeerRecord) -> bytes:
    return encode_frame(codec.encode(record))


def read_resident_bytes() -> int:
    """Return the memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096
