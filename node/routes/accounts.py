"""What an account owns, and whether the money of all accounts adds up."""

import asyncio
from typing import Any, Final

from coordinator.http.routing import PUBLIC, Answer, Call, Route
from ledger import crypto
from ledger.entries import TOTALS_KEY, account_key
from ledger.rejection import Rejected, Rejection
from ledger.state import get_account, get_totals
from node.routes import models, records
from node.routes.answers import TAG, refuse_below, refuse_height
from node.routes.models import PageQuery, ProofQuery, SupplyQuery
from node.routes.reader import ChainReader

_TAG: Final = "Chain"
MAX_ADDRESS_LENGTH: Final = 90


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of accounts and of the supply."""

    async def show_account(call: Call) -> Answer:
        query = call.get_query(ProofQuery)
        address = parse_address(call.path["address"])
        return Answer(await describe_account(reader, address, query.is_wanted))

    async def show_detail(call: Call) -> Answer:
        query = call.get_query(PageQuery)
        address = parse_address(call.path["address"])
        account = await describe_account(reader, address, True)
        page = await list_transactions(reader, address, query.start, query.limit + 1)
        shown = page[: query.limit]
        next_cursor = shown[-1].cursor if len(page) > query.limit else None
        members = account.model_dump(exclude={"proof"})
        detail = models.AccountDetail(
            **members, proof=account.proof, transactions=shown, next_cursor=next_cursor
        )
        return Answer(detail)

    async def show_supply(call: Call) -> Answer:
        query = call.get_query(SupplyQuery)
        return Answer(await audit_supply(reader, query.height, query.is_wanted))

    return (
        Route(
            "GET", "/v1/accounts/{address}", show_account, "Balance and nonces", _TAG,
            roles=PUBLIC, query=ProofQuery, answers={200: models.Account},
        ),
        *(
            Route(
                "GET", f"{prefix}/explorer/accounts/{{address}}", show_detail,
                "An account with its transactions and proof", TAG,
                roles=PUBLIC, query=PageQuery, answers={200: models.AccountDetail},
            )
            for prefix in ("", "/v1")
        ),
        Route(
            "GET", "/v1/audit/supply", show_supply, "Whether the money adds up", _TAG,
            roles=PUBLIC, query=SupplyQuery, answers={200: models.Supply},
        ),
    )  # fmt: skip


def parse_address(text: str) -> bytes:
    """Return the 20 bytes of an address in a path. Raises `Rejected(BAD_ADDRESS)`."""
    if len(text) > MAX_ADDRESS_LENGTH:
        raise Rejected(Rejection.BAD_ADDRESS)
    return crypto.parse_address(text)


async def describe_account(reader: ChainReader, address: bytes, with_proof: bool) -> models.Account:
    """Return an account after the head; an empty one where nobody has paid it yet."""
    account = get_account(reader.view, address)
    head = reader.port.get_head()
    # Before anything is awaited, so that value and proof are of one state.
    pending = reader.begin_proof(account_key(address)) if with_proof else None
    described = models.Account(
        address=crypto.format_address(address),
        **records.write_money("balance", account.balance),
        nonce=account.nonce,
        pending_nonce=reader.port.get_next_nonce(address),
        height=head.height,
    )
    if pending is not None:
        described.proof = await reader.finish_proof(pending)
    return described


async def list_transactions(
    reader: ChainReader, address: bytes, before: int | None, limit: int
) -> list[models.Transaction]:
    """Return the newest transactions that an account sent or that moved its money."""
    placed = await reader.history.list_account_transactions(address, before, limit)
    return await asyncio.to_thread(records.describe_placed, placed)


async def audit_supply(reader: ChainReader, height: int | None, with_proof: bool) -> models.Supply:
    """Return the supply equation of the head or of genesis. Raises `Problem` (404, 409, 410).

    The state holds the totals of its own height alone; those of genesis follow from its document,
    and are shown where block 0 is here.
    """
    head = reader.port.get_head()
    if height == 0 and head.height > 0 and not with_proof:
        block = await reader.get_block_short(0)
        if block is None:
            raise refuse_below(reader.store.base_height)
        supply = sum(allocation.amount for allocation in reader.genesis.allocations)
        return models.Supply(**_write_totals(supply, supply, 0, 0), height=0,
                             state_root=block.header.state_root.hex())  # fmt: skip
    if height not in (None, head.height):
        raise refuse_height(height or 0, head.height)
    totals = get_totals(reader.view)
    pending = reader.begin_proof(TOTALS_KEY) if with_proof else None
    described = models.Supply(
        **_write_totals(totals.supply, totals.balances, totals.escrows, totals.bonds),
        height=head.height,
        state_root=head.state_root.hex(),
    )
    if pending is not None:
        described.proof = await reader.finish_proof(pending)
    return described


def _write_totals(supply: int, balances: int, escrows: int, bonds: int) -> dict[str, Any]:
    return {
        "supply_base": str(supply),
        "balances_base": str(balances),
        "escrow_base": str(escrows),
        "bonds_base": str(bonds),
        "balanced": balances + escrows + bonds == supply,
    }
