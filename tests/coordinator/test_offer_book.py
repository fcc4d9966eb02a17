"""The open offers: found among a hundred thousand, forgotten when a block ends them."""

import json
import time
from collections.abc import Callable, Sequence

import msgspec
import pytest

from coordinator.leasing import record_nothing
from coordinator.offer_book import PAGE, OfferBook, get_job_type, read_metadata
from ledger.entries import Offer, offer_key
from ledger.state import Changes
from ledger.transactions import MinerExit
from tests.ledger.samples import OFFER_ENTRY
from tests.support.chain import InProcessChain
from tests.support.world import World

COUNT = 100_000
ENDS = 2**52


def make_entry(number: int, **fields: object) -> Offer:
    usual: dict[str, object] = {
        "miner": "m",
        "price": 1 + number % 1_000,
        "ends_at": ENDS,
        "is_cancelled": False,
        "service": ("llm_inference", "text_embedding")[number % 2],
        "metadata": b"{}",
    }
    return msgspec.structs.replace(OFFER_ENTRY, **{**usual, **fields})


def put(chain: InProcessChain, offers: Sequence[Offer], first: int = 0) -> None:
    """Write entries straight into the state, as a hundred thousand transactions would."""
    changes = Changes(chain.state)
    for number, offer in enumerate(offers, first):
        changes.put(offer_key(number.to_bytes(32, "big")), offer)
    changes.compute_root()
    chain.state.commit(changes)


async def register(world: World) -> None:
    await world.register("miner", "m")


async def test_a_hundred_thousand_offers_are_read_once_and_listed_at_once(world: World) -> None:
    await register(world)
    chain, book = world.chain, OfferBook(world.chain)
    end = world.clock.read() + 3_600_000
    put(chain, [make_entry(number, ends_at=end) for number in range(COUNT)])
    begin = time.perf_counter()
    await book.list_offers(None, None, None, 0, 1)
    reading = time.perf_counter() - begin
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        page = await book.list_offers("llm_inference", 500, None, 0, 50)
        times.append(time.perf_counter() - begin)
    assert (len(page.offers), page.total, page.has_more) == (50, COUNT // 4, True)
    assert {each.service for each in page.offers} == {"llm_inference"}
    assert max(each.price for each in page.offers) <= 500
    assert min(times) < 0.02
    rare = await book.list_offers(None, 1, None, 0, 50)
    assert rare.total == COUNT // 1_000 and {each.price for each in rare.offers} == {1}
    put(chain, [make_entry(number) for number in range(COUNT, COUNT + PAGE + 9)], COUNT)
    page = await book.list_offers(None, None, None, 0, 1)
    assert page.total == COUNT + PAGE + 9
    assert page.offers[0].offer_id == (COUNT + PAGE + 8).to_bytes(32, "big")
    world.pass_time(3_700)
    chain.produce()
    begin = time.perf_counter()
    assert (await book.list_offers(None, None, None, 0, 1)).total == PAGE + 9
    assert time.perf_counter() - begin < reading / 2, "those that end at once go at once"


async def list_all(book: OfferBook, job_type: str | None, max_price: int | None) -> list[int]:
    page = await book.list_offers(job_type, max_price, None, 0, 1_000)
    assert page.total == len(page.offers)
    return [int.from_bytes(each.offer_id, "big") for each in page.offers]


async def test_many_that_end_leave_and_return_at_once(world: World) -> None:
    """What is listed is what a look through all of them finds, step by step."""
    await register(world)
    end, book = world.clock.read() + 100_000, OfferBook(world.chain)
    entries = [
        make_entry(number, price=1 + number * 7 % 50, ends_at=end if number % 3 else ENDS)
        for number in range(600)
    ]
    put(world.chain, entries)

    async def check(is_open: Callable[[int], bool]) -> None:
        for job_type in (None, "llm_inference", "text_embedding", "custom_code"):
            for max_price in (None, 1, 25):
                assert await list_all(book, job_type, max_price) == [
                    number
                    for number in range(599, -1, -1)
                    if is_open(number)
                    and job_type in (None, entries[number].service)
                    and (max_price is None or entries[number].price <= max_price)
                ]

    await check(lambda number: True)
    world.coordinator.offers = book  # from here on it is told of blocks
    miner = world.people["miner"].address
    for _ in range(2):
        await world.coordinator.wallets.send(miner, MinerExit("m"), record_nothing)
        await world.until("/v1/miners/m", "miner", lambda m: m["status"] != "active")
        await world.coordinator.wait_followed()
        await check(lambda number: False)
        await world.register("miner", "m")
        await world.until("/v1/miners/m", "miner", lambda m: m["status"] == "active")
        await world.coordinator.wait_followed()
        await check(lambda number: True)
    world.pass_time(120)
    world.chain.produce()
    await check(lambda number: number % 3 == 0)


async def test_only_what_can_be_accepted_is_listed(world: World) -> None:
    await register(world)
    entries = [
        make_entry(0),
        make_entry(1, is_cancelled=True),
        make_entry(2, ends_at=0),
        make_entry(3, accepted=10, max_jobs=10),
        make_entry(4, miner="nobody"),
    ]
    put(world.chain, entries)
    page = await OfferBook(world.chain).list_offers(None, None, None, 0, 50)
    assert [each.offer_id[-1] for each in page.offers] == [0]
    assert (page.total, page.has_more) == (1, False)


async def test_pages_go_on_from_a_leaf(world: World) -> None:
    await register(world)
    put(world.chain, [make_entry(number) for number in range(7)])
    book, before, seen = OfferBook(world.chain), None, []
    while True:
        page = await book.list_offers(None, None, before, 0, 3)
        seen += [each.offer_id[-1] for each in page.offers]
        if not page.has_more:
            break
        before = page.offers[-1].leaf
    assert seen == [6, 5, 4, 3, 2, 1, 0]


async def test_offers_of_a_miner_that_left_are_back_with_it(world: World) -> None:
    await world.register("miner", "m")
    body = {"job_type": "llm_inference", "price": "0.1"}
    paths = []
    for _ in range(2):
        made = await world.call("POST", "/v1/marketplace/offers", "miner", body)
        paths.append(f"/v1/marketplace/offers/{made.json['offer_id']}")
    book, miner = world.coordinator.offers, world.people["miner"]
    assert (await book.list_offers(None, None, None, 0, 9)).total == 2
    await world.coordinator.wallets.send(miner.address, MinerExit("m"), record_nothing)
    await world.until(paths[0], "miner", lambda offer: offer["status"] == "miner_exited")
    await world.coordinator.wait_followed()
    assert (await book.list_offers(None, None, None, 0, 9)).total == 0
    assert (await OfferBook(world.chain).list_offers(None, None, None, 0, 9)).total == 0
    assert (await world.call("DELETE", paths[0], "miner")).status == 200
    await world.register("miner", "m")
    await world.coordinator.wait_followed()
    page = await book.list_offers("llm_inference", None, None, 0, 9)
    assert [f"offer_{each.offer_id.hex()}" for each in page.offers] == [paths[1][-70:]]


@pytest.mark.parametrize(
    ("metadata", "job_type"),
    [
        (b"", "custom_code"),
        (b"{}", "custom_code"),
        (b"[1]", "custom_code"),
        (b'{"job_type": 5}', "custom_code"),
        (b'{"job_type": ""}', "custom_code"),
        (json.dumps({"job_type": "x" * 65}).encode(), "custom_code"),
        (b'{"job_type": "\\ud800"}', "custom_code"),
        (b'{"job_type": "llm_inference"}', "custom_code"),
        (b'{"job_type": "ai-inference"}', "custom_code"),
        (b"\xff", "custom_code"),
        (b"[" * 4_000, "custom_code"),
        (b'{"job_type": "image-classification"}', "image-classification"),
    ],
)
def test_whatever_the_metadata_holds_there_is_a_kind_of_work(
    metadata: bytes, job_type: str
) -> None:
    assert get_job_type(make_entry(0, service="custom_code", metadata=metadata)) == job_type
    assert get_job_type(make_entry(0, service="llm_inference", metadata=metadata)) == (
        "llm_inference"
    )
    assert isinstance(read_metadata(metadata), dict)
