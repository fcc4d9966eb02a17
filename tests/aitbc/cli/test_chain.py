"""The commands that read the chain and sign for it, against a true node."""

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from aitbc.cli.main import app
from ledger.keystore import LOW_COST, Keystore
from tests.support.node import CLIENT, MINER, RunningNode, running_node

PASSWORD = "a password for tests"


async def read(node: RunningNode, *arguments: str) -> Any:
    """Run `aitbc … --json` in a thread: the node answers in this one."""
    runner = CliRunner(
        env={
            "AITBC_API_URL": node.url,
            "AITBC_API_KEY": None,
            "AITBC_KEYSTORE_PASSWORD": PASSWORD,
        }
    )
    result = await asyncio.to_thread(runner.invoke, app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


async def test_a_transfer_is_signed_here_final_there_and_shown(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    Keystore(keys).add("client", CLIENT.seed, PASSWORD.encode(), LOW_COST)
    async with running_node(tmp_path / "node") as node:
        sent = await read(
            node, "tx", "transfer", "--from", "client", "--to", MINER.text_address,
            "--amount", "1.5", "--keystore", str(keys),
        )  # fmt: skip
        assert (sent["status"], sent["amount_base"]) == ("final", "1500000000")
        shown = await read(node, "tx", "get", sent["transaction_id"])
        assert (shown["height"], shown["outcome"]) == (sent["height"], "applied")
        account = await read(node, "account", CLIENT.text_address)
        assert (account["nonce"], account["pending_nonce"]) == (1, 1)
        block = await read(node, "explorer", "block", str(sent["height"]))
        assert block["transactions"] == 1
        blocks = await read(node, "explorer", "blocks")
        assert sent["height"] in [each["height"] for each in blocks["blocks"]]
        assert (await read(node, "explorer", "stats"))["block_height"] >= sent["height"]
        assert (await read(node, "node", "status"))["height"] >= sent["height"]
