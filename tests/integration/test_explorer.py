"""One job's life on a true node, as the explorer and the chain's routes tell it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from yarl import URL

from aitbc.client import AsyncAITBCClient
from consensus.messages import FinalityProof
from consensus.verification import Committee, verify_finality
from genesis.document import compute_chain_id, load_genesis
from ledger import codec, crypto, merkle, terms
from ledger.blocks import AuthoritySet, Header, compute_header_hash, decode_header
from ledger.entries import Account, Job, JobStatus, Miner, Totals
from ledger.outcomes import JobSettled, Outcome
from ledger.state_tree import StateProof, is_in_state
from ledger.transactions import JobSettle, Transfer, compute_transaction_id, decode_transaction
from tests.support.node import (
    CLIENT,
    FUNDS,
    MINER,
    NODE,
    RunningNode,
    SettledJob,
    get_text_address,
    running_node,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

METADATA = {"capabilities": ["llm_inference"], "models": ["model@1"], "prices": {"token": 5}}
EXPIRED_TAG = b"e" * 32
EXPIRED = terms.compute_job_id(CLIENT.address, EXPIRED_TAG)
Story = tuple[RunningNode, SettledJob]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    async with running_node(tmp_path_factory.mktemp("node") / "data") as node:
        nothing = node.sign(NODE, Transfer(NODE.address, 0))
        reply = await node.post("/v1/transactions", nothing.raw.hex())
        await node.wait_final(reply.body["transaction_id"])
        await node.register_miner(metadata=json.dumps(METADATA).encode())
        await node.send(CLIENT, node.build_submit(EXPIRED_TAG, queue_ms=500)[1])
        # Its deadline comes in a block of its own: nothing else waits meanwhile.
        await node.wait_job(EXPIRED, "failed")
        settled = await node.settle_job(bytes(32))
        yield node, settled


def read_header(node: RunningNode, proof: dict[str, Any]) -> Header:
    """Return the header of a proof, its finality checked against the genesis authorities alone."""
    header = decode_header(bytes.fromhex(proof["header"]))
    finality = codec.decode(bytes.fromhex(proof["finality"]), FinalityProof, 1 << 20)
    authorities = AuthoritySet(0, node.genesis.authorities)
    verify_finality(header, finality, Committee(node.chain_id, authorities))
    assert header.height == proof["height"]
    return header


def check_entry(node: RunningNode, proof: dict[str, Any]) -> bytes:
    """Return an entry's canonical value, its inclusion checked."""
    header = read_header(node, proof)
    nodes = tuple(bytes.fromhex(each) for each in proof["nodes"])
    path = StateProof(proof["leaf"], proof["count"], nodes)
    key, value = bytes.fromhex(proof["key"]), bytes.fromhex(proof["value"])
    assert is_in_state(key, value, path, header.state_root)
    assert not is_in_state(key, value + b"x", path, header.state_root)
    return value


def check_leaf(proof: dict[str, Any], root: bytes) -> bytes:
    leaf = bytes.fromhex(proof["leaf"])
    siblings = tuple(bytes.fromhex(each) for each in proof["siblings"])
    path = merkle.InclusionProof(proof["index"], proof["count"], siblings)
    assert merkle.is_included(leaf, path, root)
    return leaf


async def test_status_tells_a_signer_what_it_needs(story: Story) -> None:
    node, _ = story
    status = await node.read("/v1/chain/status")
    assert status["chain_id"] == node.chain_id.hex()
    assert (status["name"], status["is_dev"]) == ("test-chain", True)
    assert status["minimum_fee_rate"] == node.genesis.parameters.minimum_fee_rate
    assert status["maximum_validity"] == node.genesis.parameters.maximum_validity
    assert status["parameters"]["block_interval"] == 20
    assert status["proof_key_id"] == node.genesis.proof.key_id.hex()
    assert status["behind_by"] == 0 and status["validators"] == 1
    assert status["time"].endswith("Z") and status["outage_ms"] == 0
    assert status["mempool"] == {"transactions": 0, "bytes": 0}


async def test_a_client_anchors_itself_on_the_genesis_document(story: Story) -> None:
    node, _ = story
    reply = await node.get("/v1/chain/genesis")
    assert reply.headers["Content-Type"].startswith("application/json")
    genesis = load_genesis(json.dumps(reply.body).encode())
    assert compute_chain_id(genesis) == node.chain_id
    again = await node.get(
        "/api/v1/chain/genesis", headers={"If-None-Match": reply.headers["ETag"]}
    )
    assert (again.status, again.body) == (304, "")


async def test_validators(story: Story) -> None:
    node, _ = story
    found = await node.read("/v1/chain/validators")
    assert (found["epoch"], found["quorum"], found["fault_bound"]) == (0, 1, 0)
    expected = {"index": 0, "public_key": NODE.public_key.hex(), "address": NODE.text_address}
    assert found["validators"] == found["next_validators"] == [expected]


async def test_blocks_from_the_newest_to_genesis(story: Story) -> None:
    node, job = story
    blocks = await node.read("/explorer/blocks", limit=100)
    heights = [block["height"] for block in blocks]
    assert heights == list(range(heights[0], -1, -1))
    assert sum(block["transactions"] for block in blocks) == 6
    for newer, older in zip(blocks, blocks[1:], strict=False):
        assert newer["parent_hash"] == older["hash"]
        assert newer["certificate"]["block_hash"] == newer["hash"] and newer["finalized"]
    assert blocks[-1]["certificate"] is None
    below = await node.read("/explorer/blocks", limit=2, before=heights[0])
    assert [block["height"] for block in below] == heights[1:3]
    assert len(await node.read("/explorer/blocks")) == min(10, len(blocks))


async def test_pages_join_up(story: Story) -> None:
    node, _ = story
    for path in ("blocks", "transactions", "receipts", "miners"):
        whole = await node.read(f"/explorer/{path}", limit=100)
        found: list[Any] = []
        query: dict[str, Any] = {}
        while True:
            page = await node.read(f"/v1/explorer/{path}", limit=1, **query)
            found += page["items"]
            query = {"cursor": page["next_cursor"]}
            if page["next_cursor"] is None:
                break
        # A heartbeat may have put a block on top meanwhile.
        assert found[-len(whole) :] == whole, path


async def test_a_block_by_height_and_hash_is_the_same_and_never_changes(story: Story) -> None:
    node, job = story
    height = (await node.read(f"/v1/transactions/{job.settled}"))["height"]
    reply = await node.get(f"/explorer/blocks/{height}")
    block = reply.body
    assert "immutable" in reply.headers["Cache-Control"]
    assert block == await node.read(f"/v1/explorer/blocks/{block['hash']}")
    assert block["transaction_ids"] == [job.settled]
    header = read_header(node, block)
    assert compute_header_hash(header).hex() == block["hash"]
    known = {"If-None-Match": f'"other", {reply.headers["ETag"]}'}
    assert (await node.get(f"/api/explorer/blocks/{height}", headers=known)).status == 304


async def test_a_transaction_proves_itself(story: Story) -> None:
    node, job = story
    found = await node.read(f"/v1/transactions/{job.settled}", proof=1)
    proof = found["proof"]
    header = read_header(node, proof)
    raw = check_leaf(proof["transaction"], header.transactions_root)
    outcome = codec.decode(check_leaf(proof["outcome"], header.receipts_root), Outcome, 1 << 20)
    transaction = decode_transaction(raw)
    assert isinstance(transaction.payload, JobSettle)
    identity = compute_transaction_id(transaction, node.chain_id)
    assert f"tx_{identity.hex()}" == job.settled
    assert outcome.subject == identity and outcome.code == 0
    bare = await node.read(f"/v1/transactions/{identity.hex()}")
    assert bare["proof"] is None and {**bare, "proof": proof} == found
    assert (found["kind"], found["outcome"], found["code"]) == ("job_settle", "applied", 0)
    assert found == await node.read(f"/explorer/transactions/{job.settled}")


async def test_the_lists_of_transactions_and_receipts(story: Story) -> None:
    node, job = story
    transactions = await node.read("/explorer/transactions")
    kinds = [each["kind"] for each in transactions]
    assert kinds == [
        "job_settle",
        "job_claim",
        "job_submit",
        "job_submit",
        "miner_register",
        "transfer",
    ]
    assert transactions[0]["payload"]["proof_bytes"] == 192
    assert transactions[4]["payload"]["metadata_bytes"] == len(json.dumps(METADATA))
    (receipt,) = await node.read("/explorer/receipts")
    assert receipt["receipt_id"] == f"receipt_{job.job.hex()}"
    assert receipt["provider"] == get_text_address(MINER)
    assert receipt["client"] == get_text_address(CLIENT)
    assert int(receipt["amount_base"]) == job.amount
    shares = ("payout", "coordinator_share", "network_share", "refund")
    assert sum(int(receipt[f"{share}_base"]) for share in shares) == job.escrow


async def test_a_transaction_that_fails_in_a_block_says_why(story: Story) -> None:
    node, _ = story
    found = (await node.read("/explorer/transactions"))[-1]
    assert (found["status"], found["outcome"], found["code"]) == ("final", "AMOUNT_IS_ZERO", 101)
    assert found["detail"] == "The amount is zero." and found["events"] == []
    assert int(found["fee_base"]) > 0
    again = await node.post(
        "/v1/transactions", node.sign(NODE, Transfer(CLIENT.address, 1), 0).raw.hex()
    )
    assert (again.status, again.body["error_code"]) == (409, "NONCE_USED")


async def test_a_receipt_proves_its_settlement(story: Story) -> None:
    node, job = story
    for name in (f"receipt_{job.job.hex()}", f"job_{job.job.hex()}", job.job.hex()):
        found = await node.read(f"/explorer/receipts/{name}")
    header = read_header(node, found["transaction_proof"])
    leaf = check_leaf(found["transaction_proof"]["outcome"], header.receipts_root)
    (event,) = [
        event
        for event in codec.decode(leaf, Outcome, 1 << 20).events
        if isinstance(event, JobSettled)
    ]
    assert event.receipt_commit.hex() == found["receipt_commit"]
    entry = codec.decode(check_entry(node, found["job_proof"]), Job, 1 << 20)
    assert entry.status is JobStatus.SETTLED and entry.settlement is not None
    assert entry.settlement.payout == int(found["payout_base"])


async def test_a_jobs_life(story: Story) -> None:
    node, job = story
    found = await node.read(f"/explorer/jobs/job_{job.job.hex()}")
    kinds = [event["type"] for step in found["steps"] for event in step["events"]]
    assert kinds == ["job_queued", "lease_granted", "lease_ended", "job_settled"]
    assert [step["transaction_id"] for step in found["steps"]] == [
        job.submitted,
        job.claimed,
        job.settled,
    ]
    assert (found["status"], found["fault"], found["service"]) == ("settled", None, "llm_inference")
    assert found["attempts"] == [
        {
            "miner_id": "miner_one",
            "number": 1,
            "outcome": "settled",
            "reason_code": 0,
            "reason": None,
        }
    ]
    assert found["settlement"]["receipt_id"] == f"receipt_{job.job.hex()}"
    assert codec.decode(check_entry(node, found["proof"]), Job, 1 << 20).client == CLIENT.address
    assert "never on the chain" not in json.dumps(found)


async def test_a_deadline_is_a_step_without_a_transaction(story: Story) -> None:
    node, _ = story
    found = await node.read(f"/v1/explorer/jobs/{EXPIRED.hex()}")
    assert (found["status"], found["fault"], found["reason_code"]) == ("failed", "network", 31_001)
    last = found["steps"][-1]
    assert last["transaction_id"] is None
    assert [event["type"] for event in last["events"]] == ["job_ended"]
    assert last["events"][0]["refund_base"] == found["escrow_base"]
    block = await node.read(f"/explorer/blocks/{last['height']}")
    assert (block["processed_deadlines"], block["transaction_ids"]) == (1, [])
    listed = await node.read("/explorer/blocks", limit=1, before=last["height"] + 1)
    assert listed[0]["hash"] == block["hash"] and listed[0]["transactions"] == 0
    refused = await node.get(f"/explorer/receipts/receipt_{EXPIRED.hex()}")
    assert (refused.status, refused.body["error_code"]) == (404, "RECEIPT_NOT_FOUND")


async def test_a_miner_with_each_of_its_claims(story: Story) -> None:
    node, job = story
    (listed,) = await node.read("/explorer/miners")
    found = await node.read("/explorer/miners/miner_one")
    for miner in (listed, found):
        assert miner["metadata"] == METADATA and miner["owner"] == MINER.text_address
        assert (miner["claims"], miner["settled"], miner["is_active"]) == (1, 1, True)
    (claim,) = found["history"]
    assert (claim["number"], claim["outcome"]) == (1, "settled")
    assert claim["settlement"]["job_id"] == f"job_{job.job.hex()}"
    assert found["next_cursor"] is None
    entry = codec.decode(check_entry(node, found["proof"]), Miner, 1 << 20)
    assert entry.earned == int(found["earned_base"])


async def test_an_account_with_its_transactions(story: Story) -> None:
    node, job = story
    address = get_text_address(CLIENT)
    account = await node.read(f"/v1/accounts/{address}", proof=1)
    value = codec.decode(check_entry(node, account["proof"]), Account, 1 << 20)
    assert str(value.balance) == account["balance_base"]
    assert (account["nonce"], account["pending_nonce"]) == (2, 2)
    detail = await node.read(f"/explorer/accounts/{address}")
    ids = [each["transaction_id"] for each in detail["transactions"]]
    assert ids[:2] == [job.settled, job.submitted] and len(ids) == 3
    first = await node.read(f"/v1/explorer/accounts/{address}", limit=1)
    rest = await node.read(f"/explorer/accounts/{address}", before=first["next_cursor"])
    assert [each["transaction_id"] for each in rest["transactions"]] == ids[1:]


async def test_an_unknown_account_is_empty(story: Story) -> None:
    node, _ = story
    address = crypto.format_address(bytes(20))
    account = await node.read(f"/v1/accounts/{address}", proof=1)
    assert account["balance_base"] == "0" and account["balance"] == "0"
    assert (account["nonce"], account["pending_nonce"], account["proof"]) == (0, 0, None)
    detail = await node.read(f"/explorer/accounts/{address}")
    assert (detail["transactions"], detail["next_cursor"]) == ([], None)


async def test_the_money_adds_up(story: Story) -> None:
    node, _ = story
    audit = await node.read("/v1/audit/supply", proof=1)
    assert audit["balanced"] is True and audit["supply_base"] == str(3 * FUNDS)
    parts = ("balances_base", "escrow_base", "bonds_base")
    assert sum(int(audit[part]) for part in parts) == 3 * FUNDS
    totals = codec.decode(check_entry(node, audit["proof"]), Totals, 1 << 20)
    assert str(totals.bonds) == audit["bonds_base"]
    first = await node.read("/v1/audit/supply", height=0)
    assert (first["height"], first["balances_base"]) == (0, str(3 * FUNDS))
    ahead = await node.get("/v1/audit/supply", height=audit["height"] + 1_000)
    assert (ahead.status, ahead.body["error_code"]) == (404, "BLOCK_NOT_FOUND")
    behind = await node.get("/v1/audit/supply", height=1)
    assert (behind.status, behind.body["error_code"]) == (409, "STATE_NOT_KEPT")
    assert behind.body["head"] >= audit["height"]


async def test_stats(story: Story) -> None:
    node, _ = story
    stats = await node.read("/explorer/stats")
    assert (stats["total_jobs"], stats["total_receipts"], stats["active_miners"]) == (2, 1, 1)
    assert (stats["live_jobs"], stats["failed_jobs"], stats["escrow_base"]) == (0, 1, "0")
    assert stats["block_height"] >= 6
    assert (await node.read("/v1/explorer/stats")).keys() == stats.keys()


async def test_the_sdk_reads_what_the_node_writes(story: Story) -> None:
    node, job = story
    async with AsyncAITBCClient(node.url) as client:
        status = await client.chain.get_status()
        assert status.minimum_fee_rate == node.genesis.parameters.minimum_fee_rate
        account = await client.chain.get_account(CLIENT.text_address)
        assert account.pending_nonce == 2
        (verdict,) = await client.chain.send(["00"])
        assert (verdict.status, verdict.error_code) == ("rejected", "MALFORMED")
        final = await client.chain.get_transaction(job.settled)
        assert (final.status, final.code) == ("final", 0)
        assert len(await client.explorer.list_blocks(limit=3)) == 3
        assert (await client.explorer.get_job(f"job_{job.job.hex()}"))["status"] == "settled"
        assert (await client.chain.audit_supply())["balanced"] is True


HOSTILE_QUERIES = (
    "limit=0", "limit=101", "limit=-1", "limit=1e1", "limit=", "limit=99999999999999999999",
    "limit=1&limit=2", "before=-1", "before=x", "cursor=%FF", "cursor=9223372036854775808",
    "proof=2", "height=-1", "height=", "q=", "q=" + "a" * 129,
)  # fmt: skip
HOSTILE_NAMES = (
    "-1", "00", "9" * 64, "9" * 80, "0x00", "f" * 64, "F" * 64, "tx_" + "f" * 64, "tx_", "%00",
    "%FF%FE", "..%2F..", "ait1", "ait1" + "q" * 500, "a" * 3_000, "%F0%9F%92%A9", "'%20or%201=1",
)  # fmt: skip


async def test_no_question_is_the_servers_fault(story: Story) -> None:
    node, _ = story
    lists = ["blocks", "transactions", "receipts", "miners", "search"]
    paths = [f"/explorer/{name}?{query}" for name in lists for query in HOSTILE_QUERIES]
    paths += [f"/v1/audit/supply?{query}" for query in HOSTILE_QUERIES]
    kinds = ["blocks", "transactions", "receipts", "jobs", "accounts", "miners"]
    folders = [f"/explorer/{kind}" for kind in kinds] + ["/v1/transactions", "/v1/accounts"]
    paths += [f"{folder}/{name}" for folder in folders for name in HOSTILE_NAMES]
    for path in paths:
        async with node.session.get(URL(node.url + path, encoded=True)) as response:
            assert response.status < 500, path
            assert "?" in path or response.status in (404, 422), path
            if response.status >= 400:
                problem = await response.json(content_type="application/problem+json")
                assert problem["error_code"] and problem["detail"], path


async def test_search_finds_each_kind(story: Story) -> None:
    node, job = story
    block = await node.read("/explorer/blocks/1")
    cases: dict[str, list[str]] = {
        "1": ["block"],
        block["hash"]: ["block"],
        job.settled: ["transaction"],
        job.job.hex(): ["job", "receipt"],
        f"job_{job.job.hex()}": ["job", "receipt"],
        CLIENT.text_address: ["account"],
        "miner_one": ["miner"],
        " miner_one ": ["miner"],
        crypto.format_address(bytes(20)): [],
        "ait1nonsense": [],
        "99999999": [],
        "ünknown": [],
    }
    for text, kinds in cases.items():
        hits = await node.read("/explorer/search", q=text)
        assert [hit["type"] for hit in hits] == kinds, text
        for hit in hits:
            await node.read(hit["path"])
        page = await node.read("/v1/explorer/search", q=text)
        assert page == {"items": hits, "next_cursor": None}


async def test_metrics_are_for_prometheus(story: Story) -> None:
    node, _ = story
    reply = await node.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "aitbc_live_sockets 0.0" in reply.body
    assert "aitbc_chain_height" in reply.body and 'aitbc_jobs{state="settled"} 1.0' in reply.body


async def test_the_routes_are_in_the_api_document(story: Story) -> None:
    node, _ = story
    paths = (await node.read("/openapi.json"))["paths"]
    for path in ("/explorer/blocks", "/v1/explorer/blocks", "/v1/transactions", "/metrics"):
        assert path in paths
    body = paths["/v1/transactions"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/json"]
