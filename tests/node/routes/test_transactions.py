"""Transactions over HTTP: a verdict for each, and nothing malformed gets beyond the edge."""

import gzip
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from aitbc.wallet import SignedTransaction, Wallet
from ledger import codec
from ledger.transactions import Transfer, decode_transaction
from node.routes.transactions import MAX_BODY_BYTES
from tests.ledger.edwards import ORDER, encode_small_order
from tests.support.node import AIT, CLIENT, FUNDS, MINER, NODE, RunningNode, running_node

pytestmark = pytest.mark.asyncio(loop_scope="module")

POOR = Wallet(bytes([9]) * 32)
PATH = "/v1/transactions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningNode]:
    """A node whose first block is far off, so that what it accepts waits."""
    data = tmp_path_factory.mktemp("node") / "data"
    times = {"block_interval": 60_000, "heartbeat_interval": 120_000, "outage_gap": 240_000}
    async with running_node(data, **times) as node:
        yield node


def sign(
    node: RunningNode, wallet: Wallet, nonce: int, amount: int = AIT, **changes: Any
) -> SignedTransaction:
    parts = {
        "chain_id": node.chain_id,
        "nonce": nonce,
        "fee_rate": node.genesis.parameters.minimum_fee_rate,
        "valid_until": 1_000,
    }
    return wallet.sign(Transfer(POOR.address, amount), **{**parts, **changes})


async def test_an_accepted_transaction_waits_and_counts(node: RunningNode) -> None:
    signed = sign(node, CLIENT, 0)
    for _ in range(2):
        reply = await node.post(PATH, {"raw": signed.raw.hex()})
        assert (reply.status, reply.body["status"]) == (202, "accepted")
        assert reply.body["transaction_id"] == f"tx_{signed.id.hex()}"
    found = await node.read(f"{PATH}/tx_{signed.id.hex()}")
    assert (found["status"], found["height"], found["code"]) == ("pending", None, None)
    assert found["payload"]["amount"] == "1" and found["sender"] == CLIENT.text_address
    account = await node.read(f"/v1/accounts/{CLIENT.text_address}")
    assert (account["nonce"], account["pending_nonce"]) == (0, 1)
    assert account["balance_base"] == str(FUNDS)
    assert (await node.read("/v1/chain/status"))["mempool"]["transactions"] >= 1
    (hit,) = await node.read("/explorer/search", q=signed.id.hex())
    assert hit["type"] == "transaction"
    metrics = (await node.get("/metrics")).body
    (line,) = [each for each in metrics.splitlines() if each.startswith("aitbc_mempool_tran")]
    assert float(line.split()[1]) >= 1


async def test_each_item_of_a_list_has_its_own_verdict(node: RunningNode) -> None:
    good = [sign(node, MINER, nonce) for nonce in range(3)]
    other_chain = sign(node, MINER, 3, chain_id=bytes(32))
    items: list[Any] = [
        good[0].raw.hex(),
        {"transaction": good[1].raw.hex()},
        "zz",
        {"raw": good[2].raw.hex().upper(), "note": "more members are allowed"},
        other_chain.raw.hex(),
        sign(node, MINER, 9).raw.hex(),
        sign(node, MINER, 3, fee_rate=1).raw.hex(),
        sign(node, POOR, 0).raw.hex(),
        good[0].raw.hex() + "00",
        "00" * 9_000,
        sign(node, MINER, 3, valid_until=10**6).raw.hex(),
    ]
    reply = await node.post(PATH, items)
    assert reply.status == 200
    codes = [verdict.get("error_code") for verdict in reply.body]
    assert codes == [
        None, None, "MALFORMED", None, "BAD_SIGNATURE", "NONCE_GAP", "FEE_TOO_LOW",
        "INSUFFICIENT_BALANCE", "MALFORMED", "TOO_LARGE", "VALIDITY_TOO_LONG",
    ]  # fmt: skip
    ids = [each["transaction_id"] for each in reply.body if each["status"] == "accepted"]
    assert ids == [f"tx_{each.id.hex()}" for each in good]
    for verdict in reply.body:
        assert (verdict["status"] == "rejected") == bool(verdict.get("detail"))
    assert (await node.post(PATH, [])).body == []


async def test_a_single_refusal_is_a_problem(node: RunningNode) -> None:
    cases = [
        (sign(node, NODE, 1, fee_rate=1).raw.hex(), 422, "FEE_TOO_LOW"),
        (sign(node, NODE, 99).raw.hex(), 409, "NONCE_GAP"),
        (sign(node, POOR, 0).raw.hex(), 402, "INSUFFICIENT_BALANCE"),
        ("not hex", 422, "MALFORMED"),
        ("", 422, "MALFORMED"),
        ("00 11", 422, "MALFORMED"),
    ]
    for raw, status, code in cases:
        reply = await node.post(PATH, {"raw": raw})
        assert (reply.status, reply.body["error_code"]) == (status, code)
        assert reply.headers["Content-Type"].startswith("application/problem+json")


async def test_a_signature_has_one_verdict_over_http_too(node: RunningNode) -> None:
    """S + L, and the pairs of small order that ZIP 215 accepts: the ledger's verdict on each."""
    good = decode_transaction(sign(node, NODE, 1).raw)
    s = int.from_bytes(good.signature[32:], "little") + ORDER
    forged = [replace(good, signature=good.signature[:32] + s.to_bytes(32, "little"))]
    for key, commitment in itertools.product(encode_small_order(), repeat=2):
        forged.append(replace(good, sender=key, nonce=0, signature=commitment + bytes(32)))
    root = (await node.read("/explorer/blocks"))[0]["state_root"]
    reply = await node.post(PATH, [codec.encode(each).hex() for each in forged])
    assert [verdict["error_code"] for verdict in reply.body] == ["BAD_SIGNATURE"] * 197
    assert (await node.read("/explorer/blocks"))[0]["state_root"] == root


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 422),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'"\xff"', 400),
        (b'"\\ud800"', 400),
        (b"NaN", 400),
        (b"null", 422),
        (b"1", 422),
        (b"[1]", 422),
        (b"[[]]", 422),
        (b"{}", 422),
        (b'{"raw": 1}', 422),
        (b'["00", {"raw": null}]', 422),
        (b"[" + b",".join([b'"00"'] * 1_001) + b"]", 422),
        (b'"' + b"0" * MAX_BODY_BYTES + b'"', 413),
    ],
)
async def test_a_body_that_is_no_transaction(node: RunningNode, body: bytes, status: int) -> None:
    reply = await node.post(PATH, body)
    assert reply.status == status, reply
    assert reply.body["error_code"] and len(reply.body["detail"]) < 200


async def test_a_large_list_fits_and_a_bomb_does_not(node: RunningNode) -> None:
    reply = await node.post(PATH, ["00" * 2_000] * 1_000)
    assert reply.status == 200
    assert {verdict["error_code"] for verdict in reply.body} == {"MALFORMED"}
    bomb = gzip.compress(b" " * (8 * MAX_BODY_BYTES))
    async with node.session.post(
        node.url + PATH, data=bomb, headers={"Content-Encoding": "gzip"}
    ) as response:
        assert response.status == 413


async def test_the_place_of_a_wrong_item_is_named(node: RunningNode) -> None:
    reply = await node.post(PATH, ["00", {"note": 1}])
    assert [each["pointer"] for each in reply.body["errors"]] == ["/1/raw"]
