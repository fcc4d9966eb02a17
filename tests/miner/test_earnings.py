"""`aitbc miner earnings`: each linked to its receipt, transaction and block, with totals."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from miner.settings import MinerSettings
from tests.support.miner_bench import mine
from tests.support.miner_market import open_market
from tests.support.miner_process import COMMAND
from tests.support.text_endpoint import TextEndpoint


async def ask(settings: MinerSettings, *arguments: str, **changed: str) -> Any:
    given = {
        "miner_id": settings.miner_id,
        "api_urls": json.dumps(settings.api_urls),
        "api_key": settings.api_key.get_secret_value(),
        **changed,
    }
    names = {f"AITBC_MINER_{name.upper()}": value for name, value in given.items()}
    return await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, "earnings", *arguments],
        check=False,
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_earnings_are_linked_and_summed_up_page_by_page(tmp_path: Path) -> None:
    endpoint = TextEndpoint()
    async with (
        endpoint.serve(),
        open_market(tmp_path, text_endpoint=endpoint.url, text_endpoint_model="served") as market,
    ):
        settings = market.settings
        empty = await ask(settings, "--json")
        async with mine(settings):
            for number in range(3):
                job = await market.client.jobs.create(prompt=f"{number}", params={"max_tokens": 4})
                await market.client.jobs.wait(job.job_id, timeout=60)
        whole = json.loads((await ask(settings, "--all", "--json")).stdout)
        first = json.loads((await ask(settings, "--limit", "2", "--json")).stdout)
        cursor = first["next_cursor"]
        second = json.loads((await ask(settings, "--cursor", cursor, "--json")).stdout)
        shown = await ask(settings, "--limit", "2")
        refused = await ask(settings, api_key="aitbc_another")
        transactions = [
            await market.client.chain.get_transaction(row["transaction_id"])
            for row in whole["earnings"]
        ]
        receipts = [
            await market.client.receipts.get(row["receipt_id"]) for row in whole["earnings"]
        ]
    assert empty.returncode != 0  # the miner is not registered yet
    assert whole["total"] == 3 and whole["next_cursor"] is None
    assert first["earnings"] + second["earnings"] == whole["earnings"]
    total = sum(int(row["earned_base"]) for row in whole["earnings"])
    assert whole["earned_base"] == whole["total_earned_base"] == total > 0
    assert first["earned_base"] + second["earned_base"] == total
    for row, transaction, receipt in zip(whole["earnings"], transactions, receipts, strict=True):
        assert (transaction.status, transaction.height) == ("final", row["height"])
        assert receipt["job_id"] == row["job_id"]
    assert whole["earnings"][0]["transaction_id"] in shown.stdout
    assert "2 of 3" in shown.stderr and f"--cursor {cursor}" in shown.stderr
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr and "aitbc_another" not in refused.stderr
