"""The authority set seen and changed from the command line, against true nodes."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from aitbc.wallet import Wallet
from ledger.authorities import compute_proposal_id
from ledger.keystore import LOW_COST, Keystore
from tests.support.cluster import WALLETS, Cluster, running_cluster
from tests.support.node import CLIENT, NODE, running_node
from tests.support.scripted_server import Prepared, serve

PASSWORD = "a password for tests"
NEW = Wallet(bytes([77]) * 32)


async def run(url: str, *arguments: str) -> Result:
    """Run `aitbc validators …` in a thread: the nodes answer in this one."""
    runner = CliRunner(
        env={
            "AITBC_API_URL": url,
            "AITBC_API_KEY": None,
            "AITBC_DATA": None,
            "AITBC_KEYSTORE_PASSWORD": PASSWORD,
        }
    )
    return await asyncio.to_thread(runner.invoke, app, ["validators", *arguments])


async def read(url: str, *arguments: str) -> Any:
    result = await run(url, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


async def vote_of(cluster: Cluster, number: int, *arguments: str) -> Any:
    """Let a node's own key vote, through its own API."""
    data = str(cluster.nodes[number].data)
    return await read(cluster.apis[number].url, *arguments, "--data", data)


def get_keys(members: Sequence[Any]) -> list[str]:
    return [member["public_key"] for member in members]


@pytest.mark.slow
async def test_an_authority_is_proposed_voted_in_and_voted_out(tmp_path: Path) -> None:
    key = WALLETS[4].public_key.hex()
    async with running_cluster(tmp_path, 4, observers=1, heartbeat_interval=1_000) as cluster:
        url = cluster.apis[0].url
        opened = await vote_of(cluster, 0, "propose-add", key)
        assert (opened["votes"], opened["quorum"], opened["passed"]) == (1, 3, False)
        (shown,) = (await read(url, "list"))["proposals"]
        assert shown["proposal_id"] == opened["proposal_id"]
        assert shown["voters"] == [WALLETS[0].public_key.hex()]
        listed = await run(url, "list")
        assert "1 of 3" in listed.stdout and opened["proposal_id"] in listed.stdout
        again = await run(url, "vote", opened["proposal_id"], "--data", str(cluster.nodes[0].data))
        assert again.exit_code == 31 and "has voted for this change already" in again.stderr
        await vote_of(cluster, 1, "vote", opened["proposal_id"])
        passed = await vote_of(cluster, 2, "vote", opened["proposal_id"])
        assert (passed["votes"], passed["passed"], passed["epoch"]) == (3, True, 1)
        await cluster.wait_height(passed["height"] + 2, 0, 4)
        after = await read(url, "list")
        assert (after["epoch"], after["quorum"], after["proposals"]) == (1, 4, [])
        assert get_keys(after["validators"]) == [wallet.public_key.hex() for wallet in WALLETS[:5]]
        leaving = await vote_of(cluster, 4, "propose-remove", key)
        assert (leaving["votes"], leaving["quorum"]) == (1, 4)


async def test_a_lone_authority_stays(tmp_path: Path) -> None:
    async with running_node(tmp_path / "node") as node:
        own = ("propose-remove", NODE.public_key.hex(), "--data", str(tmp_path / "node"))
        result = await run(node.url, *own)
        assert result.exit_code == 31 and "cannot leave the set" in result.stderr
        unknown = await run(node.url, "propose-remove", NEW.public_key.hex(), *own[2:])
        assert unknown.exit_code == 31 and "is no authority" in unknown.stderr


async def test_a_key_of_the_keystore_votes_too_and_a_strangers_does_not_count(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    Keystore(keys).add("client", CLIENT.seed, PASSWORD.encode(), LOW_COST)
    Keystore(keys).add("node", NODE.seed, PASSWORD.encode(), LOW_COST)
    async with running_node(tmp_path / "node") as node:
        proposal = ("propose-add", NEW.public_key.hex(), "--keystore", str(keys), "--from")
        result = await run(node.url, *proposal, "client")
        assert result.exit_code == 31 and "is not an authority" in result.stderr
        wrong = await run(node.url, *proposal, "node", "--chain-id", "00" * 32)
        assert wrong.exit_code == 17
        sent = await read(node.url, *proposal, "node", "--no-wait")
        assert (sent["status"], sent["voter"]) == ("accepted", NODE.public_key.hex())
        final = await node.wait_final(sent["transaction_id"])
        assert final["payload"] == {
            "is_add": True,
            "key": NEW.public_key.hex(),
            "account": NEW.text_address,
        }
        assert [event["type"] for event in final["events"]] == [
            "authority_voted",
            "authorities_changed",
        ]


def show(name: bytes) -> dict[str, Any]:
    """Return a node's answer with one open proposal of the given name."""
    proposal = {
        "proposal_id": f"proposal_{name.hex()}",
        "action": "add",
        "public_key": NEW.public_key.hex(),
        "address": NEW.text_address,
        "voters": [],
        "valid_until": 9,
    }
    return {"validators": [], "next_validators": [], "quorum": 3, "proposals": [proposal]}


async def test_a_vote_is_for_what_its_name_says(tmp_path: Path) -> None:
    """A node that shows another key under a proposal's name gets no vote for it."""
    keys = tmp_path / "keys"
    Keystore(keys).add("node", NODE.seed, PASSWORD.encode(), LOW_COST)
    name = compute_proposal_id(True, CLIENT.public_key, CLIENT.address)
    with serve(Prepared(200, show(name))) as server:
        for wanted, code in ((name, 33), (bytes(32), 31)):
            result = await run(
                server.url, "vote", f"proposal_{wanted.hex()}",
                "--keystore", str(keys), "--from", "node",
            )  # fmt: skip
            assert result.exit_code == code, result.stderr
    assert {asked.path for asked in server.asked} == {"/v1/chain/validators"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("propose-add", "00" * 32),
        ("propose-add", "alice"),
        ("propose-remove", NEW.public_key.hex().upper()),
        ("propose-add", NEW.public_key.hex()),
        ("vote", "proposal_00"),
    ],
)
async def test_a_wrong_command_line_sends_nothing(arguments: tuple[str, ...]) -> None:
    with serve(Prepared(500, {})) as server:
        result = await run(server.url, *arguments)
    assert (result.exit_code, result.stdout, server.asked) == (2, "", [])
