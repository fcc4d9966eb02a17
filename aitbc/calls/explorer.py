"""How the explorer's calls are written: final chain state, in arrays and in pages."""

from typing import Any

from aitbc.calls.common import get, get_array, get_page, get_value, quote
from aitbc.models import Model, Page
from aitbc.steps import Call


def list_blocks(*, limit: int = 10, before: int | None = None) -> Call[list[Model]]:
    """Return the latest final blocks, or those before a height."""
    return get_array("/explorer/blocks", {"limit": limit, "before": before}, Model)


def page_blocks(*, limit: int = 100, cursor: str | None = None) -> Call[Page[Model]]:
    """Return a page of the final blocks, newest first."""
    return _get_page("blocks", limit, cursor)


def get_block(block: int | str) -> Call[Model]:
    """Return a block by height or hash."""
    return get(f"/explorer/blocks/{quote(str(block))}", Model)


def list_transactions(*, limit: int = 10) -> Call[list[Model]]:
    """Return the latest final transactions."""
    return get_array("/explorer/transactions", {"limit": limit}, Model)


def page_transactions(*, limit: int = 100, cursor: str | None = None) -> Call[Page[Model]]:
    """Return a page of the final transactions, newest first."""
    return _get_page("transactions", limit, cursor)


def get_chain_transaction(transaction_id: str) -> Call[Model]:
    """Return a final transaction with its place in its block."""
    return get(f"/explorer/transactions/{quote(transaction_id)}", Model)


def list_settlements(*, limit: int = 10) -> Call[list[Model]]:
    """Return the latest receipts as the chain knows them: commitments, never contents."""
    return get_array("/explorer/receipts", {"limit": limit}, Model)


def page_settlements(*, limit: int = 100, cursor: str | None = None) -> Call[Page[Model]]:
    """Return a page of the receipts as the chain knows them, newest first."""
    return _get_page("receipts", limit, cursor)


def get_settlement(receipt_id: str) -> Call[Model]:
    """Return a receipt as the chain knows it."""
    return get(f"/explorer/receipts/{quote(receipt_id)}", Model)


def get_explorer_stats() -> Call[Model]:
    """Return the network's totals."""
    return get("/explorer/stats", Model)


def get_chain_job(job_id: str) -> Call[Model]:
    """Return a job as the chain's state holds it, with its inclusion proof."""
    return get(f"/explorer/jobs/{quote(job_id)}", Model)


def list_chain_miners(*, limit: int = 10) -> Call[list[Model]]:
    """Return the newest miners as the chain's state holds them."""
    return get_array("/explorer/miners", {"limit": limit}, Model)


def list_chain_offers(*, limit: int = 10) -> Call[list[Model]]:
    """Return the newest offers as the chain's state holds them, open or not."""
    return get_array("/explorer/offers", {"limit": limit}, Model)


def page_chain_offers(*, limit: int = 100, cursor: str | None = None) -> Call[Page[Model]]:
    """Return a page of the offers as the chain's state holds them, newest first."""
    return _get_page("offers", limit, cursor)


def get_chain_offer(offer_id: str) -> Call[Model]:
    """Return an offer with its transactions and its proof."""
    return get(f"/explorer/offers/{quote(offer_id)}", Model)


def page_chain_miners(*, limit: int = 100, cursor: str | None = None) -> Call[Page[Model]]:
    """Return a page of the miners as the chain's state holds them, newest first."""
    return _get_page("miners", limit, cursor)


def get_chain_miner(miner_id: str) -> Call[Model]:
    """Return a miner as the chain's state holds it, with its claims and inclusion proof."""
    return get(f"/explorer/miners/{quote(miner_id)}", Model)


def get_chain_account(address: str) -> Call[Model]:
    """Return an account as the chain's state holds it, with its inclusion proof."""
    return get(f"/explorer/accounts/{quote(address)}", Model)


def search_chain(text: str) -> Call[Any]:
    """Return what a height, hash, address, job or miner name belongs to."""
    return get_value("/explorer/search", {"q": text})


def _get_page(what: str, limit: int, cursor: str | None) -> Call[Page[Model]]:
    return get_page(f"/v1/explorer/{what}", {"limit": limit, "cursor": cursor}, "items", Model)
