"""What the explorer's questions take on a long chain: every list and look-up, over HTTP.

A real node on a folder with a million transactions, and jobs, receipts, miners and offers among
them (`bench.history`). One question at a time, at a modest rate, each of other things than the one
before; lists at their first, middle and last page, of as many items as a page has at most. Beside
them, in the same run, `GET /livez`, which reads nothing: the ratio tells a slow machine from a slow
answer, and so does the node's processor time.

Usage: python -m bench.explorer [--transactions 1000000] [--requests 100] [--folder FOLDER]
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from bench import history
from bench.network import Bench, run_bench_node
from ledger import crypto
from node.tables import SLOT_BITS

TARGET_MS = 20
PAUSE = 0.01
"""Seconds between an answer and the next question."""
PAGE = 100
"""The most items of a page."""
SAMPLES = 40
"""Blocks of which transactions are asked for."""
BASELINE = "/livez"


class Question(NamedTuple):
    """A kind of request; `paths` yields one after the other."""

    title: str
    paths: Iterator[str]


class Measured(NamedTuple):
    """Milliseconds of one kind: half of the answers, all but a hundredth, processor time each."""

    p50: float
    p99: float
    cpu: float


class Known(NamedTuple):
    """What there is on the chain to ask for."""

    heights: list[int]
    blocks: list[str]
    transactions: list[str]
    offers: list[str]
    cursors: dict[str, list[str]]
    """Of lists whose cursors are not heights: those of their middle and last page, if any."""


async def learn(bench: Bench, blocks: int) -> Known:
    """Ask the node what it has."""
    picked = random.Random(5)
    heights = [picked.randrange(5, blocks - 2) for _ in range(SAMPLES)]
    details = [await bench.get(f"/explorer/blocks/{height}") for height in heights]
    cursors, offers = {}, list[str]()
    for path in ("/v1/explorer/miners", "/v1/explorer/offers", "/v1/marketplace/offers"):
        pages = [page async for page in _iterate_pages(bench, path)]
        ends = [page["next_cursor"] for page in pages[:-1]]
        cursors[path] = sorted({ends[len(ends) // 2], ends[-1]}) if ends else []
        if path == "/v1/explorer/offers":
            offers = [item["offer_id"] for page in pages for item in page["items"]]
    return Known(
        heights,
        [each["hash"] for each in details],
        [name for each in details for name in picked.sample(each["transaction_ids"], 5)],
        offers,
        cursors,
    )


async def _iterate_pages(bench: Bench, path: str) -> AsyncIterator[Any]:
    cursor = ""
    while True:
        page = await bench.get(f"{path}?limit={PAGE}{cursor}")
        yield page
        if not page["next_cursor"]:
            return
        cursor = f"&cursor={page['next_cursor']}"


def list_questions(known: Known, blocks: int) -> Iterator[Question]:
    """Yield every kind of question."""
    picked = random.Random(6)

    def ask(path: str, *choose: Callable[[], object]) -> Question:
        title = path.replace("{}", "…")
        return Question(title, _iterate(lambda: path.format(*(each() for each in choose))))

    def height() -> int:
        return picked.randrange(5, blocks - 2)

    def job() -> str:
        number = picked.randrange(history.JOBS_PER_BLOCK)
        return "job_" + history.compute_job(height(), number).hex()

    def payee() -> str:
        return crypto.format_address(history.make_payee(picked.randrange(history.PAYEES)))

    def sender() -> str:
        return picked.choice(history.FUNDED[1 : 1 + history.SENDERS]).text_address

    def miner() -> str:
        return history.name_miner(picked.randrange(1, history.MINERS))

    transaction = partial(picked.choice, known.transactions)
    offer = partial(picked.choice, known.offers)
    for prefix in ("", "/v1"):
        for name in ("blocks", "transactions", "receipts"):
            shift = 0 if name == "blocks" else SLOT_BITS
            # Of receipts, whose jobs began in the third block, too.
            for before in (None, blocks // 2, 15):
                part = "" if before is None else f"&before={before << shift}"
                yield ask(f"{prefix}/explorer/{name}?limit={PAGE}{part}")
        for name in ("miners", "offers"):
            yield ask(f"{prefix}/explorer/{name}?limit={PAGE}")
            for cursor in known.cursors[f"/v1/explorer/{name}"]:
                yield ask(f"{prefix}/explorer/{name}?limit={PAGE}&cursor={cursor}")
        yield ask(f"{prefix}/explorer/blocks/{{}}", height)
        yield ask(f"{prefix}/explorer/blocks/{{}}", lambda: picked.choice(known.blocks))
        yield ask(f"{prefix}/explorer/transactions/{{}}", transaction)
        yield ask(f"{prefix}/explorer/receipts/{{}}", job)
        yield ask(f"{prefix}/explorer/jobs/{{}}", job)
        yield ask(f"{prefix}/explorer/accounts/{{}}?limit={PAGE}", payee)
        for before in (blocks + 1, blocks // 2, 15):
            part = f"limit={PAGE}&before={before << SLOT_BITS}"
            yield ask(f"{prefix}/explorer/accounts/{{}}?{part}", sender)
        yield ask(f"{prefix}/explorer/miners/{{}}?limit={PAGE}", miner)
        busiest = f"{prefix}/explorer/miners/{history.name_miner(0)}?limit={PAGE}"
        for claims in ("", f"&before={blocks * history.JOBS_PER_BLOCK // 4}", f"&before={PAGE}"):
            yield ask(busiest + claims)
        yield ask(f"{prefix}/explorer/offers/{{}}?limit={PAGE}", offer)
        yield ask(f"{prefix}/explorer/offers/{known.offers[-1]}?limit={PAGE}")
        for choose in (height, job, payee, miner, transaction, offer):
            yield ask(f"{prefix}/explorer/search?q={{}}", choose)
        yield ask(f"{prefix}/explorer/search?q=nothing_{{}}", height)
        yield ask(f"{prefix}/explorer/stats")
    for name in ("status", "validators", "successions", "genesis", "peers"):
        yield ask(f"/v1/chain/{name}")
    for proof in (0, 1):
        yield ask(f"/v1/accounts/{{}}?proof={proof}", payee)
        yield ask(f"/v1/transactions/{{}}?proof={proof}", transaction)
        yield ask(f"/v1/audit/supply?proof={proof}")
    yield ask("/v1/audit/supply?height=0")
    market = "/v1/marketplace/offers"
    yield ask(f"{market}?limit={PAGE}")
    for cursor in known.cursors[market]:
        yield ask(f"{market}?limit={PAGE}&cursor={cursor}")
    yield ask(f"{market}?limit={PAGE}&job_type=llm_inference&max_price=0.0000011")
    yield ask(f"{market}/{{}}", offer)
    yield ask("/v1/marketplace/stats")


def _iterate(make: Callable[[], str]) -> Iterator[str]:
    while True:
        yield make()


async def measure(bench: Bench, question: Question, count: int) -> Measured:
    """Ask one after the other."""
    taken, cpu = [], bench.read_cpu()
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        path = next(question.paths)
        start = time.perf_counter()
        async with bench.session.get(bench.url + path) as response:
            await response.read()
        taken.append((time.perf_counter() - start) * 1e3)
        assert response.status == 200, (path, response.status)
    cpu = (bench.read_cpu() - cpu) / count
    return Measured(median(taken), quantiles(taken, n=100)[98], cpu * 1e3)


async def run(data: Path, transactions: int, count: int) -> bool:
    """Print the figures; return whether all are within the target."""
    start, blocks = time.perf_counter(), transactions // history.PER_BLOCK
    node = run_bench_node(data, history.FUNDED, lambda folder: history.fill(folder, transactions))
    async with node as bench:
        stats = await bench.get("/explorer/stats")
        seconds = time.perf_counter() - start
        print(f"{transactions:,} transactions in {blocks:,} blocks, made in {seconds:.0f} s")
        print(", ".join(f"{stats[name]:,} {name}" for name in ("total_jobs", "total_receipts")))
        questions = list(list_questions(await learn(bench, blocks), blocks))
        baseline = Question(BASELINE, _iterate(lambda: BASELINE))
        await measure(bench, baseline, count)
        measured = {question: await measure(bench, question, count) for question in questions}
        idle = await measure(bench, baseline, 5 * count)
    print(f"milliseconds of {count} questions each: p50, p99, times /livez, processor")
    for question, each in sorted(measured.items(), key=lambda pair: -pair[1].p99):
        ratio = each.p99 / idle.p99
        mark = " over" if each.p99 > TARGET_MS else ""
        print(f"{each.p50:7.2f} {each.p99:7.2f} {ratio:6.1f} {each.cpu:7.2f}  ", end="")
        print(f"{question.title}{mark}")
    print(f"{idle.p50:7.2f} {idle.p99:7.2f} {1:6.1f} {idle.cpu:7.2f}  {BASELINE}, the baseline")
    over = sum(each.p99 > TARGET_MS for each in measured.values())
    print(f"{len(measured)} kinds, {over} of them over {TARGET_MS} ms at p99")
    return not over


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="kept, and used again if it is there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = chosen.folder or Path(name) / "node"
        is_within = asyncio.run(run(data, chosen.transactions, chosen.requests))
    raise SystemExit(not is_within)


if __name__ == "__main__":
    main()
