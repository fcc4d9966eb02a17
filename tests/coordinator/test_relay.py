from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator import relay
from coordinator.ports import Unreachable
from coordinator.relay import HomeRefused, NoRelay
from coordinator.relay_messages import (
    Content,
    Described,
    Noted,
    Offer,
    Refusal,
    Refused,
    Taken,
)
from ledger import codec
from tests.support.coordinators import Cluster
from tests.support.world import World

AVAILABLE = "/v1/jobs/available"


def answer_with(cluster: Cluster, data: bytes) -> None:
    cluster.relay.change = lambda _: data
    cluster.local.coordinator.note_reachable(cluster.home.coordinator.address)


async def test_a_node_without_a_network_reaches_nobody(world: World) -> None:
    with pytest.raises(Unreachable):
        await NoRelay().ask(bytes(20), b"", 1)
    await world.register()
    assert (await world.call("GET", AVAILABLE, "miner")).json is None


async def test_a_refusal_has_its_reason(cluster: Cluster) -> None:
    local, home = cluster.local.coordinator, cluster.home.coordinator.address
    answer_with(cluster, codec.encode(Refused(Refusal.BUSY, "later")))
    with pytest.raises(HomeRefused) as caught:
        await relay.describe(local, home, [bytes(32)])
    assert (caught.value.refusal, caught.value.detail) == (Refusal.BUSY, "later")


async def test_a_coordinator_in_another_ones_name_is_none(cluster: Cluster) -> None:
    local, home = cluster.local.coordinator, cluster.home.coordinator.address
    answer_with(cluster, codec.encode(Described(local.public_key, ())))
    with pytest.raises(Unreachable):
        await relay.describe(local, home, [bytes(32)])
    assert local.foreign.get_home(home).key is None


async def test_the_key_to_seal_to_is_asked_for_once(cluster: Cluster) -> None:
    local, home = cluster.local.coordinator, cluster.home.coordinator
    for _ in range(2):
        assert await relay.find_key(local, home.address, bytes(32)) == home.public_key
    assert len(cluster.relay.asked) == 1


async def test_of_many_that_look_for_work_one_asks(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    await cluster.local.coordinator.wait_followed()
    for _ in range(5):
        offered = await cluster.local.call("GET", AVAILABLE, "miner")
        assert offered.json["job_id"] == job["job_id"]
    assert len(cluster.relay.asked) == 1


def encode(answer: Any) -> bytes:
    """Return an answer's bytes; a number that MessagePack lacks makes them end early."""
    try:
        return codec.encode(answer)
    except OverflowError:
        return b"\x95"


TEXTS = st.text(max_size=5)
NUMBERS = st.integers(-1, 2**63)
ANSWERS: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        Described,
        st.binary(min_size=30, max_size=33),
        st.lists(
            st.builds(
                Offer, st.binary(min_size=32, max_size=32), TEXTS, TEXTS, TEXTS, NUMBERS, NUMBERS,
                NUMBERS, NUMBERS, NUMBERS,
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(Content, st.integers(0, 20), st.binary(max_size=50), TEXTS),
    st.builds(Noted, st.booleans()),
    st.builds(Taken, st.binary(max_size=50)),
    st.builds(Refused, st.sampled_from(Refusal), TEXTS),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.one_of(st.binary(max_size=100), ANSWERS.filter(bool).map(encode)))
async def test_whatever_a_coordinator_answers_a_look_for_work_goes_on(
    cluster: Cluster, data: bytes
) -> None:
    if not cluster.chain.blocks[1:]:
        await cluster.local.register()
        await cluster.home.submit()
        await cluster.local.coordinator.wait_followed()
    answer_with(cluster, data)
    reply = await cluster.local.call("GET", AVAILABLE, "miner")
    assert reply.status == 200, reply
