"""What a node says of itself, of the API key and of the account; a real node, before and after."""

import asyncio
from pathlib import Path
from typing import Any

from aitbc.wallet import Wallet
from miner.doctor.account import check_nodes
from miner.doctor.report import Check, State
from miner.run import load_proving_key
from miner.settings import MinerSettings
from tests.support.miner_bench import mine
from tests.support.miner_market import open_market
from tests.support.node import MINER
from tests.support.text_endpoint import TextEndpoint

WALLET = Wallet(MINER.seed)


async def look(
    settings: MinerSettings, wallet: Wallet = WALLET, **changed: Any
) -> dict[str, Check]:
    altered = MinerSettings(**{**settings.model_dump(), **changed})
    _, key_id = await asyncio.to_thread(load_proving_key, settings)
    return {check.name: check for check in await check_nodes(altered, wallet, key_id)}


async def test_a_node_is_asked_before_and_after_the_miner_registered(tmp_path: Path) -> None:
    endpoint = TextEndpoint()
    async with (
        endpoint.serve(),
        open_market(tmp_path, text_endpoint=endpoint.url, text_endpoint_model="served") as market,
    ):
        settings = market.settings
        before = await look(settings)
        urls = ["http://127.0.0.1:1", *settings.api_urls]
        other = await look(settings, api_urls=urls)
        refused = await look(settings, api_key="aitbc_another")
        poor = await look(settings, Wallet(bytes([77]) * 32))
        other_key = {check.name: check for check in await check_nodes(settings, None, bytes(32))}
        async with mine(settings):
            job = await market.client.jobs.create(prompt="One.", params={"max_tokens": 2})
            await market.client.jobs.wait(job.job_id, timeout=60)
        after = await look(settings)
        stranger = await look(settings, Wallet(bytes([77]) * 32))
    assert {check.state for check in before.values()} == {State.OK}
    assert set(before) == {"reachable", "clock", "proofs", "API key", "balance"}
    assert "10 for the bond" in before["balance"].found
    # One node that does not answer is no more than a warning beside one that does.
    assert {check.state for check in other.values()} == {State.OK}
    assert refused["API key"].state is State.MISSING
    assert "aitbc api-keys new" in refused["API key"].remedy
    assert other_key["proofs"].state is State.MISSING
    assert "balance" not in other_key  # without a wallet no account is asked for
    assert poor["balance"].state is State.MISSING
    assert f"to {Wallet(bytes([77]) * 32).text_address}" in poor["balance"].remedy
    assert after["bond"].found == "miner_a, bond 10 AIT"
    assert "bond" not in after["balance"].found
    assert stranger["name"].state is State.MISSING
    assert WALLET.text_address in stranger["name"].found


async def test_a_node_that_does_not_answer_is_named_and_nothing_else_is_said(
    tmp_path: Path,
) -> None:
    settings = MinerSettings(
        miner_id="miner_a", api_key="k", key_file=tmp_path / "k", api_urls=["http://127.0.0.1:1"]
    )
    (check,) = (await look(settings)).values()
    assert (check.name, check.state) == ("reachable", State.MISSING)
    assert "127.0.0.1:1" in check.found
