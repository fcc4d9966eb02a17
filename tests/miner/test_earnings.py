"""`aitbc miner earnings`: each linked to its receipt, transaction and block, with totals."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from aitbc.client import AITBCClient
from aitbc.errors import AuthenticationError, NotFoundError
from miner.cli import app
from miner.earnings import EarningsPage, read_earnings
from miner.settings import MinerSettings
from tests.support.miner_bench import mine
from tests.support.miner_market import open_market
from tests.support.text_endpoint import TextEndpoint


async def read(settings: MinerSettings, key: str = "", **choices: Any) -> EarningsPage:
    def ask() -> EarningsPage:
        with AITBCClient(settings.api_urls, key or settings.api_key.get_secret_value()) as client:
            return read_earnings(client, settings.miner_id, **{"limit": None, **choices})

    return await asyncio.to_thread(ask)


async def run(settings: MinerSettings, *arguments: str) -> Result:
    given = {
        "miner_id": settings.miner_id,
        "api_urls": json.dumps(settings.api_urls),
        "api_key": settings.api_key.get_secret_value(),
    }
    names = {f"AITBC_MINER_{name.upper()}": value for name, value in given.items()}
    command = ["earnings", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, app, command, env=names)


async def test_earnings_are_linked_and_summed_up_page_by_page(tmp_path: Path) -> None:
    endpoint = TextEndpoint()
    async with (
        endpoint.serve(),
        open_market(tmp_path, text_endpoint=endpoint.url, text_endpoint_model="served") as market,
    ):
        settings = market.settings
        with pytest.raises(NotFoundError):  # the miner is not registered yet
            await read(settings)
        async with mine(settings):
            for number in range(2):
                job = await market.client.jobs.create(prompt=f"{number}", params={"max_tokens": 4})
                await market.client.jobs.wait(job.job_id, timeout=60)
        whole = await read(settings)
        first = await read(settings, limit=1)
        second = await read(settings, cursor=first.next_cursor)
        with pytest.raises(AuthenticationError):
            await read(settings, key="aitbc_another")
        shown, printed = await run(settings, "--limit", "1"), await run(settings, "--json", "--all")
        for row in whole.earnings:
            transaction = await market.client.chain.get_transaction(row["transaction_id"])
            receipt = await market.client.receipts.get(row["receipt_id"])
            assert (transaction.status, transaction.height) == ("final", row["height"])
            assert receipt["job_id"] == row["job_id"]
    assert (whole.total, whole.next_cursor) == (2, None)
    assert first.earnings + second.earnings == whole.earnings
    total = sum(int(row["earned_base"]) for row in whole.earnings)
    assert whole.earned_base == whole.total_earned_base == total > 0
    assert first.earned_base + second.earned_base == total == first.total_earned_base
    assert json.loads(printed.stdout) == msgspec.to_builtins(whole)
    (row,) = first.earnings
    for member in ("receipt_id", "transaction_id"):
        assert row[member] in shown.stdout
    assert "1 of 2" in shown.stderr and f"--cursor {first.next_cursor}" in shown.stderr
