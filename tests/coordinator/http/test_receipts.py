import base64
import copy
import json
from typing import Any

import msgspec
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import codec
from ledger.entries import Job
from ledger.receipts import ReceiptCore, read_receipt, sign_receipt
from ledger.state_tree import StateProof, is_in_state
from ledger.terms import compute_content_hash
from tests.support.shapes import find_missing, load_answer
from tests.support.world import World
from zk.opening import check_opening, decode_opening


async def settle(world: World) -> str:
    """Return the id of a job that has been done and paid."""
    await world.register()
    job = await world.submit()
    path = f"/v1/jobs/{job['job_id']}"
    assert (await world.claim(job["job_id"])).status == 200
    pending = await world.call("GET", path + "/receipt", "client")
    assert (pending.status, pending.json["error_code"]) == (409, "JOB_NOT_COMPLETED")
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12, "engine": "test"}
    assert (await world.call("POST", path + "/complete", "miner", body)).status == 200
    await world.until(path, "client", lambda j: j["status"] == "completed")
    return str(job["job_id"])


async def verify(world: World, receipt: Any) -> dict[str, Any]:
    reply = await world.call("POST", "/v1/receipts/verify", body={"receipt": receipt})
    assert reply.status == 200, reply
    answer: dict[str, Any] = reply.json
    return answer


def tamper(receipt: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(receipt)
    target = changed
    for name in path[:-1]:
        target = target[name]
    assert target[path[-1]] != value
    target[path[-1]] = value
    return changed


async def test_nothing_is_opened_before_the_settlement(world: World) -> None:
    await world.register()
    job_id = (await world.submit())["job_id"]
    opening = f"/v1/receipts/{job_id}/opening"
    assert (await world.call("GET", opening, "client")).status == 404
    assert (await world.claim(job_id)).status == 200
    world.chain.is_automatic = False
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12, "engine": "test"}
    path = f"/v1/jobs/{job_id}/complete"
    assert (await world.call("POST", path, "miner", body)).status == 200
    early = await world.call("GET", opening, "client")
    assert (early.status, early.json["error_code"]) == (409, "JOB_NOT_COMPLETED")


async def test_a_receipt_says_how_its_result_can_be_checked(world: World) -> None:
    await world.register()
    job_id = (await world.submit())["job_id"]
    assert (await world.claim(job_id)).status == 200
    path = f"/v1/jobs/{job_id}/complete"
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12, "engine": "test 1"}
    for spoilt in ({"Seed": "7"}, {"seed": 7}, {"seed": "sieben\n"}, {"s" * 33: ""}):
        refused = await world.call("POST", path, "miner", {**body, "pins": spoilt})
        assert refused.status == 422, spoilt
    told = {"device": "CPU of a test", "pins": {"seed": "7", "build": "test 1"}}
    done = await world.call("POST", path, "miner", {**body, **told, "energy_joules": 41})
    assert done.status == 200, done
    core = read_receipt(done.json)[0]
    assert (core.verification, core.device, core.pins) == ("logit_gap", *told.values())
    assert (core.engine, core.energy_joules) == ("test 1", 41)


@pytest.mark.slow
async def test_a_receipt_in_every_form(world: World) -> None:
    job_id = await settle(world)
    receipt_id = job_id.replace("job_", "receipt_")
    exact = (await world.call("GET", f"/v1/jobs/{job_id}/receipt", "client")).json
    check_with_other_tools(exact)
    union = (await world.call("GET", f"/v1/receipts/{receipt_id}", "client")).json
    for who, name in (("client", job_id), ("miner", receipt_id), ("miner", job_id)):
        assert (await world.call("GET", f"/v1/receipts/{name}", who)).json == union
    assert not find_missing(union, load_answer("a_receipt"), is_loose=False)
    assert not find_missing(union, load_answer("b_receipt"), is_loose=False)
    assert union["signed_payload"] == rfc8785.dumps(drop(exact)).decode()
    assert (union["status"], union["units"]) == ("final", 12)
    assert (union["provider"], union["client"]) == (exact["provider"], exact["client"])
    assert exact["result_hash"] == compute_content_hash({"text": "Hello."}).hex()
    assert [a["type"] for a in exact["attestations"]] == ["completion", "settlement"]
    check_inclusion(union)
    for who in ("other", "rival", "operator"):
        reply = await world.call("GET", f"/v1/receipts/{receipt_id}", who)
        assert (reply.status, reply.json["error_code"]) == (404, "RECEIPT_NOT_FOUND")
    await check_opening_route(world, job_id, union)
    bundle = await world.call("GET", f"/v1/receipts/{receipt_id}?bundle=1", "client")
    assert bundle.json == {"job": job_id[4:]}
    history = (await world.call("GET", f"/v1/jobs/{job_id}/receipts", "client")).json
    assert history == {"items": [exact]}
    await check_lists(world, union)
    await check_verdicts(world, exact, union)


def drop(receipt: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in receipt.items() if name not in ("signature", "attestations")
    }


async def check_opening_route(world: World, job_id: str, union: dict[str, Any]) -> None:
    """Client and miner get the same opening; it fits what the proof was about; others get none."""
    receipt_id = job_id.replace("job_", "receipt_")
    opened = await world.call("GET", f"/v1/receipts/{receipt_id}/opening", "client")
    assert opened.status == 200
    again = await world.call("GET", f"/v1/receipts/{job_id}/opening", "miner")
    assert again.json == opened.json
    public = {name: int(value) for name, value in union["zk"]["public_inputs"].items()}
    del public["context"]
    assert check_opening(decode_opening(opened.body), **public) == []
    for who in ("other", "rival", "operator"):
        reply = await world.call("GET", f"/v1/receipts/{receipt_id}/opening", who)
        assert (reply.status, reply.json["error_code"]) == (404, "RECEIPT_NOT_FOUND")
    assert (await world.call("GET", f"/v1/receipts/{receipt_id}/opening")).status == 401
    for name in ("receipt_1", "job_" + "00" * 32):
        assert (await world.call("GET", f"/v1/receipts/{name}/opening", "client")).status == 404


def check_with_other_tools(exact: dict[str, Any]) -> None:
    """Plain sorted JSON and OpenSSL's Ed25519 must say the same as we do."""
    message = json.dumps(drop(exact), sort_keys=True, separators=(",", ":")).encode()
    key, signed = (
        base64.urlsafe_b64decode(exact["signature"][name] + "==") for name in ("key_id", "sig")
    )
    Ed25519PublicKey.from_public_bytes(key[:32]).verify(signed[:64], message)


def check_inclusion(union: dict[str, Any]) -> None:
    proof = union["inclusion_proof"]
    nodes = tuple(bytes.fromhex(node) for node in proof["proof"]["nodes"])
    state_proof = StateProof(proof["proof"]["leaf"], proof["proof"]["count"], nodes)
    key, value = bytes.fromhex(proof["key"]), bytes.fromhex(proof["value"])
    assert is_in_state(key, value, state_proof, bytes.fromhex(proof["state_root"]))
    entry = codec.decode(value, Job, len(value))
    assert entry.settlement is not None
    assert entry.settlement.receipt_commit.hex() == union["receipt_commit"]
    assert union["zk"]["commitment"] == union["receipt_commit"]
    assert union["zk"]["public_inputs"]["amount"] == str(union["amount"])


async def check_lists(world: World, union: dict[str, Any]) -> None:
    for who, query, count in (
        ("client", "", 1),
        ("miner", "", 1),
        ("other", "", 0),
        ("client", f"?client={union['client']}", 1),
        ("client", f"?client={union['provider']}", 0),
        ("client", f"?provider={union['provider']}", 1),
        ("client", "?provider=miner_miner", 1),
        ("client", "?provider=miner_rival&limit=1", 0),
    ):
        reply = (await world.call("GET", f"/v1/receipts{query}", who)).json
        assert (reply["total"], len(reply["receipts"])) == (count, count), query
    array = (await world.call("GET", "/v1/receipts?format=array", "client")).json
    assert [receipt["receipt_id"] for receipt in array] == [union["receipt_id"]]


async def check_verdicts(world: World, exact: dict[str, Any], union: dict[str, Any]) -> None:
    good = await verify(world, exact)
    assert not find_missing(good, load_answer("a_verified"), is_loose=False)
    assert good["valid"] is True
    assert good["coordinator_attestations"] == 2
    assert (await verify(world, union))["valid"] is True
    short = {
        "receipt_id": exact["receipt_id"],
        "signature": {name: exact["signature"][name] for name in ("sig", "public_key")},
    }
    verdict = await verify(world, short)
    assert (verdict["valid"], verdict["coordinator_attestations"]) == (True, 2)
    bare = await verify(world, {**short, "attestations": []})
    assert (bare["valid"], bare["coordinator_attestations"]) == (True, 0)
    other_sig = "A" * 86
    wrong: dict[str, Any]
    for wrong in (
        tamper(exact, "units", value=13),
        tamper(exact, "amount", value=1),
        tamper(exact, "model", value="llama3.2"),
        tamper(exact, "signature", "sig", value=other_sig),
        tamper(exact, "signature", "key_id", value="A" * 43),
        tamper(union, "units", value=13),
        tamper(union, "units", value=12.0 + 0.5),
        tamper(union, "signed_payload", value=union["signed_payload"].replace("12", "13")),
        tamper(union, "signed_payload", value=" " + union["signed_payload"]),
        tamper(union, "signed_payload", value="\\"),
        tamper(union, "signed_payload", value=7),
        tamper(short, "signature", "sig", value=other_sig),
        tamper(short, "receipt_id", value="receipt_" + "00" * 32),
        {}, {"signature": {}}, {"receipt_id": 1}, {**exact, "extra": 1}, drop(exact),
    ):  # fmt: skip
        verdict = await verify(world, wrong)
        assert verdict["valid"] is False, wrong
    for lie in (
        {"units": 24, "price": exact["price"] // 2},
        {"units": 24},
        {"model": "llama3.2"},
        {"result_hash": "00" * 32},
        {"receipt_id": "receipt_" + "00" * 32},
    ):
        core = msgspec.convert({**drop(exact), **lie}, ReceiptCore)
        second = sign_receipt(world.people["miner"].seed, core)
        assert (await verify(world, second))["valid"] is False, lie
    forged = tamper(exact, "attestations", value=[*exact["attestations"], {"type": "x"}, 7])
    assert (await verify(world, forged))["coordinator_attestations"] == 2
    moved = copy.deepcopy(exact)
    moved["attestations"][0]["timestamp"] = "2020-01-01T00:00:00Z"
    assert (await verify(world, moved))["coordinator_attestations"] == 1
