"""The explorer's miners: every one that ever registered, and a miner with each claim of it."""

import asyncio
from typing import Any, Final

from coordinator import wire
from coordinator.http.problems import not_found
from coordinator.http.routing import Answer, Call, Route
from ledger.entries import miner_key
from ledger.state import StateView, get_miner
from node.claim_history import Claim
from node.routes import models, records
from node.routes.answers import build_item_routes, build_list_routes
from node.routes.models import PageQuery
from node.routes.reader import ChainReader

MAX_NAME: Final = 64


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of miners."""

    async def list_miners(before: int | None, limit: int) -> list[models.Miner]:
        names = await reader.port.list_miner_names(before, limit)
        return await asyncio.to_thread(_describe_all, reader.view, names)

    async def show_miner(call: Call) -> Answer:
        query = call.get_query(PageQuery)
        return Answer(await describe_miner(reader, call.path["miner"], query))

    return (
        *build_list_routes(
            "/explorer/miners", list_miners, models.Miner, models.Miners, "Miners, newest first"
        ),
        *build_item_routes(
            "/explorer/miners/{miner}", show_miner, models.MinerDetail,
            "A miner, every claim of it and its proof", PageQuery,
        ),
    )  # fmt: skip


async def describe_miner(reader: ChainReader, name: str, query: PageQuery) -> models.MinerDetail:
    """Return a miner with a page of its claims. Raises `Problem(404)`."""
    if not is_name(name):
        raise not_found("miner")
    miner, pending = get_miner(reader.view, name), reader.begin_proof(miner_key(name))
    if miner is None or pending is None:
        raise not_found("miner")
    members = records.describe_miner(name, miner)
    claims = await reader.history.list_claims(name, query.start, query.limit)
    has_more = bool(claims) and claims[-1].number > 1
    return models.MinerDetail(
        **members,
        history=[_describe_claim(claim) for claim in claims],
        next_cursor=str(claims[-1].number) if has_more else None,
        height=pending.header.height,
        proof=await reader.finish_proof(pending),
    )


def is_name(text: str) -> bool:
    """Tell whether a text could name a miner; what the ledger's type allows is a subset."""
    return 0 < len(text) <= MAX_NAME and text.isascii()


def _describe_all(view: StateView, names: list[tuple[int, str]]) -> list[models.Miner]:
    found = ((leaf, name, get_miner(view, name)) for leaf, name in names)
    return [
        models.Miner(**records.describe_miner(name, miner), cursor=str(leaf))
        for leaf, name, miner in found
        if miner is not None
    ]


def _describe_claim(claim: Claim) -> dict[str, Any]:
    return {
        "number": claim.number,
        "job_id": wire.format_job_id(claim.job),
        "granted_height": claim.granted_height,
        "claimed_at": wire.format_time(claim.claimed_at),
        "ended_height": claim.ended_height,
        "outcome": claim.outcome.name.lower() if claim.outcome else None,
        "reason_code": claim.reason_code,
        **records.write_money("penalty", claim.penalty),
        "settlement": records.describe_record(claim.settlement) if claim.settlement else None,
    }
