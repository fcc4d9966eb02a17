"""The transport in a process of its own does what the one in a thread does, and dies alone."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from p2p.interface import (
    Announced,
    Channel,
    Joined,
    Left,
    NetworkFailed,
    NetworkSettings,
    Received,
)
from p2p.process import ProcessEngine, ProcessNetwork
from tests.p2p.networks import (
    answer_questions,
    find_port,
    identify,
    make_friends,
    run_network,
    wait_for,
)

PARENT = """
import asyncio, sys
from p2p.binding import make_identity
from p2p.interface import NetworkSettings
from p2p.process import ProcessNetwork

async def main():
    identity = make_identity(bytes(32), bytes(32), "parent")
    network = ProcessNetwork(identity, NetworkSettings("127.0.0.1", int(sys.argv[1])))
    await network.start()
    print("up", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@asynccontextmanager
async def run_process(number: int, *bootstrap: str) -> AsyncIterator[tuple[ProcessNetwork, int]]:
    """Yield a network that knows its authorities before it starts, and its process' number."""
    settings = NetworkSettings("127.0.0.1", 0, bootstrap=bootstrap, is_open=False)
    engine = ProcessEngine(identify(number), settings)
    network = ProcessNetwork(identify(number), settings, engine)
    network.set_authorities(frozenset({identify(1).key}))
    await network.start()
    try:
        yield network, engine.process_id
    finally:
        await network.close()


async def test_it_does_what_a_thread_does() -> None:
    async with run_network(1) as first, run_process(2, *first.addresses) as (second, _):
        make_friends(first)
        one = (await wait_for(first, Joined)).session
        other = await second.next_event()
        assert isinstance(other, Joined) and other.session.peer_id == first.peer_id
        assert first.send(one.number, Channel.BLOCKS, bytes(3 * 1024 * 1024))
        got = await second.next_event()
        assert isinstance(got, Received) and got.channel is Channel.BLOCKS
        assert got.data == bytes(3 * 1024 * 1024)
        async with answer_questions(first, lambda data: data + b"!"):
            assert await second.ask(other.session.number, b"well", 5) == b"well!"
        heard = asyncio.create_task(wait_for(first, Announced))
        while not heard.done():
            second.announce(b"news")
            await asyncio.wait({heard}, timeout=0.2)
        assert heard.result().peer_id == second.peer_id
        assert second.get_peers()[0].session == other.session
        second.disconnect(other.session.number, "goodbye")
        assert "goodbye" in (await wait_for(first, Left)).reason


async def test_its_death_is_no_more_than_an_event() -> None:
    async with run_process(1) as (network, process):
        waiting = asyncio.create_task(network.next_event())
        await asyncio.sleep(0)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(NetworkFailed, match="process has ended"):
            await waiting
        assert not network.send(1, Channel.VOTES, b"")


async def test_a_taken_port_is_reported_at_the_start() -> None:
    async with run_network(1) as first:
        port = int(first.addresses[0].split("/")[4])
        network = ProcessNetwork(identify(2), NetworkSettings("127.0.0.1", port))
        with pytest.raises(NetworkFailed, match="cannot listen"):
            await network.start()
        await network.close()


async def test_it_ends_with_its_parent() -> None:
    port = find_port()
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(port), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"up\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(5):
        while await reader.read(1024):
            pass
    writer.close()


@pytest.mark.slow
async def test_a_process_that_is_stopped_is_cut_off_and_comes_back() -> None:
    """A half-open connection: nothing is closed, and nothing is heard."""
    async with run_network(1) as first, run_process(2, *first.addresses) as (_, process):
        one = (await wait_for(first, Joined)).session
        os.kill(process, signal.SIGSTOP)
        try:
            left = await wait_for(first, Left)
        finally:
            os.kill(process, signal.SIGCONT)
        assert left == Left(one.number, "no byte for 5 s")
        assert (await wait_for(first, Joined)).session.key == one.key
