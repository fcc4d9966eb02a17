"""The explorer's lists: blocks, transactions and the network's totals, from final blocks alone."""

import asyncio

from aiohttp import web

from coordinator import wire
from coordinator.http.problems import not_found
from coordinator.http.routing import Answer, Call, Route
from coordinator.ports import FinalBlock
from ledger import codec
from ledger.state import get_totals
from node.routes import models, records
from node.routes.answers import (
    answer_final,
    build_item_routes,
    build_list_routes,
    parse_hash,
    parse_height,
    refuse_below,
    require_hash,
)
from node.routes.reader import BlockShort, ChainReader
from node.routes.transactions import show_transaction


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of blocks, transactions and totals."""

    async def list_blocks(before: int | None, limit: int) -> list[models.BlockSummary]:
        return [describe_block(block) for block in await reader.list_blocks(before, limit)]

    async def show_block(call: Call) -> Answer | web.StreamResponse:
        text = call.path["block"]
        height = parse_height(text)
        name = parse_hash(text) if height is None else height
        if height is not None and height < reader.store.base_height:
            raise refuse_below(reader.store.base_height)
        block = None if name is None else await reader.find_block(name)
        if block is None:
            raise not_found("block")
        detail = await asyncio.to_thread(describe_whole_block, block)
        return answer_final(detail, block.hash.hex())

    async def list_transactions(before: int | None, limit: int) -> list[models.Transaction]:
        placed = await reader.history.list_transactions(before, limit)
        return await asyncio.to_thread(records.describe_placed, placed)

    async def show_one_transaction(call: Call) -> Answer | web.StreamResponse:
        name = require_hash(call.path["hash"], "transaction", wire.TRANSACTION_PREFIX)
        return await show_transaction(reader, call, name, with_proof=True)

    async def show_stats(call: Call) -> Answer:
        return Answer(describe_stats(reader))

    return (
        *build_list_routes(
            "/explorer/blocks", list_blocks, models.BlockSummary, models.Blocks, "Latest blocks"
        ),
        *build_item_routes(
            "/explorer/blocks/{block}", show_block, models.BlockDetail,
            "A block by height or hash, with its finality proof",
        ),
        *build_list_routes(
            "/explorer/transactions", list_transactions, models.Transaction,
            models.TransactionsShown, "Latest transactions",
        ),
        *build_item_routes(
            "/explorer/transactions/{hash}", show_one_transaction, models.TransactionDetail,
            "A transaction with its proof of inclusion",
        ),
        *build_item_routes("/explorer/stats", show_stats, models.Stats, "The network's totals"),
    )  # fmt: skip


def describe_block(block: BlockShort) -> models.BlockSummary:
    """Return a block in short."""
    return models.BlockSummary(
        **records.describe_header(block.header, block.hash, block.certificate),
        transactions=block.transactions,
    )


def describe_whole_block(block: FinalBlock) -> models.BlockDetail:
    """Return a block with the ids of its transactions and all that proves it final."""
    header = block.header
    return models.BlockDetail(
        **records.describe_header(header, block.hash, block.certificate),
        transactions=len(block.transactions),
        chain_id=header.chain_id.hex(),
        parent_view=header.parent_view,
        authorities=header.authorities.hex(),
        next_authorities=header.next_authorities.hex(),
        transaction_ids=[wire.format_transaction_id(each) for each in block.transaction_ids],
        processed_deadlines=len(block.outcomes) - len(block.transactions),
        header=codec.encode(header).hex(),
        finality=block.certificate.hex() or None,
    )


def describe_stats(reader: ChainReader) -> models.Stats:
    """Return the totals after the head."""
    totals, status = get_totals(reader.view), reader.port.get_status()
    ended = totals.settled + totals.failed + totals.cancelled
    return models.Stats(
        total_jobs=totals.jobs,
        active_miners=totals.miners,
        total_receipts=totals.settled,
        block_height=status.height,
        live_jobs=totals.jobs - ended,
        failed_jobs=totals.failed,
        cancelled_jobs=totals.cancelled,
        accounts=totals.accounts,
        validators=status.validators,
        waiting_transactions=status.mempool.transactions,
        **records.write_money("volume", totals.volume),
        **records.write_money("escrow", totals.escrows),
        **records.write_money("supply", totals.supply),
        timestamp=wire.format_time(status.time_ms),
    )
