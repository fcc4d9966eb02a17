"""What a text that somebody pasted may mean: a height, a hash, an id, an address or a miner."""

from collections.abc import AsyncIterator
from typing import Final

from coordinator import wire
from coordinator.http.routing import PUBLIC, Answer, Call, Route
from ledger import crypto
from ledger.entries import JobStatus, account_key
from ledger.rejection import Rejected
from ledger.state import get_job, get_miner, get_offer
from node.routes import models
from node.routes.answers import TAG, parse_hash, parse_height
from node.routes.explorer_miners import is_name
from node.routes.models import Hit, SearchQuery
from node.routes.reader import ChainReader

_PREFIXES: Final = (
    wire.TRANSACTION_PREFIX, wire.JOB_PREFIX, wire.RECEIPT_PREFIX, wire.OFFER_PREFIX,
)  # fmt: skip


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of the search."""

    async def show_array(call: Call) -> Answer:
        return Answer([hit async for hit in search(reader, call.get_query(SearchQuery).q.strip())])

    async def show_page(call: Call) -> Answer:
        hits = [hit async for hit in search(reader, call.get_query(SearchQuery).q.strip())]
        return Answer({"items": hits, "next_cursor": None})

    return (
        Route(
            "GET", "/explorer/search", show_array, "Find a thing by its name", TAG,
            roles=PUBLIC, query=SearchQuery, answers={200: models.Hits},
        ),
        Route(
            "GET", "/v1/explorer/search", show_page, "Find a thing by its name, as a page", TAG,
            roles=PUBLIC, query=SearchQuery, answers={200: models.Page[Hit]},
        ),
    )  # fmt: skip


async def search(reader: ChainReader, text: str) -> AsyncIterator[Hit]:
    """Yield everything on the chain, or waiting for it, that the text names exactly."""
    height = parse_height(text)
    if height is not None and height <= reader.port.get_head().height:
        yield Hit(type="block", id=text, path=f"/explorer/blocks/{text}")
    name = parse_hash(text, *_PREFIXES)
    if name is not None:
        async for hit in _search_hash(reader, name):
            yield hit
    if text.startswith(crypto.ADDRESS_PREFIX + "1"):
        address = _parse_address(text)
        if address is not None and reader.view.get(account_key(address)) is not None:
            yield Hit(type="account", id=text, path=f"/explorer/accounts/{text}")
    if is_name(text) and get_miner(reader.view, text) is not None:
        yield Hit(type="miner", id=text, path=f"/explorer/miners/{text}")


async def _search_hash(reader: ChainReader, name: bytes) -> AsyncIterator[Hit]:
    if await reader.history.find_block(name) is not None:
        yield Hit(type="block", id=name.hex(), path=f"/explorer/blocks/{name.hex()}")
    is_waiting = reader.chain.mempool.has(name)
    if is_waiting or await reader.history.find_transaction(name) is not None:
        identity = wire.format_transaction_id(name)
        yield Hit(type="transaction", id=identity, path=f"/explorer/transactions/{identity}")
    job = get_job(reader.view, name)
    if job is not None:
        identity = wire.format_job_id(name)
        yield Hit(type="job", id=identity, path=f"/explorer/jobs/{identity}")
        if job.status is JobStatus.SETTLED:
            identity = wire.format_receipt_id(name)
            yield Hit(type="receipt", id=identity, path=f"/explorer/receipts/{identity}")
    if get_offer(reader.view, name) is not None:
        identity = wire.format_offer_id(name)
        yield Hit(type="offer", id=identity, path=f"/explorer/offers/{identity}")


def _parse_address(text: str) -> bytes | None:
    try:
        return crypto.parse_address(text)
    except Rejected:
        return None
