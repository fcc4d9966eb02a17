import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nacl.public import SealedBox

from coordinator import sql, wire
from coordinator.coordinator import Coordinator
from coordinator.foreign_rows import ROWS
from coordinator.principals import Role
from coordinator.relay_messages import Described, Fetch, Report, decode_answer, decode_question
from coordinator.tables import ContentRow, JobRow
from ledger import codec
from ledger.crypto import format_address
from ledger.faults import Reason
from ledger.state import get_job, get_miner
from ledger.transactions import JobClaim
from tests.support.coordinators import Cluster, list_attempts, open_cluster
from tests.support.self_custody import (
    BOX_KEY,
    build_claim,
    build_completion,
    register,
    sign,
    sign_job,
)
from tests.support.world import Reply, World


async def claim_signed(cluster: Cluster, job: dict[str, Any]) -> Reply:
    claim = sign(cluster.local, "digger", build_claim(cluster.local, job["job_id"]))
    body = {"miner_id": "miner_digger", "transaction": claim}
    return await cluster.local.call("POST", f"/v1/jobs/{job['job_id']}/claim", "digger", body)


def open_content(claimed: dict[str, Any]) -> dict[str, Any]:
    box = SealedBox(BOX_KEY)
    pieces = [box.decrypt(base64.b64decode(piece)) for piece in claimed["content_sealed"]]
    content: dict[str, Any] = json.loads(b"".join(pieces))
    return content


def cut_at(cluster: Cluster, kind: type[Any], seconds: float = 0) -> None:
    """Lose the way to home when the first question of a kind is asked, and let time pass."""

    def watch(question: bytes) -> None:
        if isinstance(decode_question(question), kind) and not cluster.relay.is_cut:
            cluster.relay.is_cut = True
            cluster.chain.clock.advance(seconds)

    cluster.relay.watch = watch


def reconnect(cluster: Cluster) -> None:
    cluster.relay.watch = bytes
    cluster.relay.is_cut = False
    cluster.local.coordinator.note_reachable(cluster.home.coordinator.address)


def get_bond(cluster: Cluster, name: str) -> int:
    miner = get_miner(cluster.chain.get_view(), name)
    assert miner is not None
    return miner.bond


async def test_a_miner_that_signs_does_a_job_of_another_coordinator(cluster: Cluster) -> None:
    home, local = cluster.home, cluster.local
    await register(local)
    job = await home.submit(prompt="a private question")
    offered = await local.call("GET", "/v1/jobs/available?miner_id=miner_digger&wait=5", "digger")
    assert offered.json["job_id"] == job["job_id"]
    assert offered.json["prompt"] is None
    for member in ("type", "service", "model", "max_price_base", "max_units", "billing"):
        assert offered.json[member] == job[member]
    reply = await claim_signed(cluster, job)
    assert reply.status == 200, reply
    claimed = reply.json
    assert claimed["content"] is None
    opened = open_content(claimed)
    assert opened["content"]["input"] == {"prompt": "a private question"}
    again = await local.call(
        "POST", f"/v1/jobs/{job['job_id']}/claim", "digger",
        {"miner_id": "miner_digger", "transaction": sign_again(cluster, job)},
    )  # fmt: skip
    assert open_content(again.json) == opened
    path = f"/v1/jobs/{job['job_id']}"
    beat = {
        "miner_id": "miner_digger", "progress": 40, "phase": "running",
        "report_token": opened["report_token"],
    }  # fmt: skip
    noted = await local.call("POST", path + "/heartbeat", "digger", beat)
    assert (noted.status, noted.json["cancel_requested"]) == (200, False), noted
    shown = (await home.call("GET", path, "client")).json
    assert (shown["progress"], shown["phase"]) == (40, "running")
    stream = f"{path}/stream?miner_id=miner_digger&report_token={opened['report_token']}"
    lines = b'{"delta":"a private ","progress":60}\n{"delta":"answ","progress":70}\n'
    streamed = await local.call("POST", stream, "digger", data=lines)
    assert (streamed.status, streamed.json["length"]) == (200, 14), streamed
    text = home.coordinator.streams.get(wire.parse_id(job["job_id"], wire.JOB_PREFIX) or b"")
    assert text is not None and text.text == "a private answ"
    result = {"text": "a private answer"}
    body = await build_completion(local, {**claimed, **opened}, result, 12)
    done = await local.call("POST", path + "/complete", "digger", body)
    assert done.status == 200, done
    final = await home.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"] == result
    assert final["settlement"]["paid_base"] == str(12_000)
    receipt = (await home.call("GET", path + "/receipt", "client")).json
    assert [a["type"] for a in receipt["attestations"]] == ["completion", "settlement"]
    for data in cluster.relay.asked + cluster.relay.answered:
        assert b"private" not in data


def sign_again(cluster: Cluster, job: dict[str, Any]) -> str:
    """Return the claim that was sent: the same payload under the nonce that it had."""
    nonce = cluster.chain.get_next_nonce(cluster.local.people["digger"].address) - 1
    claim = build_claim(cluster.local, job["job_id"])
    return sign(cluster.local, "digger", claim, nonce)


async def test_a_custodial_miner_does_a_job_of_another_coordinator(cluster: Cluster) -> None:
    home, local = cluster.home, cluster.local
    await local.register()
    job = await home.submit(prompt="a private question")
    path = f"/v1/jobs/{job['job_id']}"
    offered = await local.call("GET", "/v1/jobs/available?wait=5", "miner")
    assert offered.json["job_id"] == job["job_id"]
    claimed = await local.claim(job["job_id"])
    assert claimed.status == 200, claimed
    assert claimed.json["content"]["input"] == {"prompt": "a private question"}
    assert claimed.json["terms"]["max_units"] == job["max_units"]
    again = await local.claim(job["job_id"])
    assert (again.status, again.json["content"]) == (200, claimed.json["content"]), again
    beat = {"miner_id": "miner_miner", "progress": 30, "phase": "running"}
    assert (await local.call("POST", path + "/heartbeat", "miner", beat)).status == 200
    assert (await home.call("GET", path, "client")).json["progress"] == 30
    known = (await local.call("GET", path, "miner")).json
    assert known["coordinator"] == format_address(home.coordinator.address)
    assert (known["status"], known["prompt"]) == ("running", None)
    assert (await local.call("GET", path, "rival")).status == 404
    before = local.get_balance("miner")
    body = {"miner_id": "miner_miner", "result": "Hello.", "units": 12}
    done = await local.call("POST", path + "/complete", "miner", body)
    assert done.status == 200, done
    final = await home.until(path, "client", lambda j: j["status"] == "completed")
    assert final["result"] == "Hello."
    assert local.get_balance("miner") > before


async def test_another_coordinator_says_who_holds_a_job(cluster: Cluster) -> None:
    """A client with a key at both sees at the other what the chain knows, and where to go."""
    await cluster.local.enrol([("holder", Role.CLIENT, False)])
    body = await sign_job(cluster.home, {"prompt": "a private question", "max_cost": "0.5"})
    posted = await cluster.home.call("POST", "/v1/jobs", "holder", body)
    path = f"/v1/jobs/{posted.json['job_id']}"
    await cluster.home.until(path, "holder", lambda j: j["phase"] == "queued")
    await cluster.local.coordinator.wait_followed()
    known = await cluster.local.call("GET", path, "holder")
    assert (known.status, known.json["status"]) == (200, "pending")
    assert known.json["coordinator"] == format_address(cluster.home.coordinator.address)
    assert b"private" not in known.body
    assert (await cluster.local.call("GET", path, "miner")).status == 404


async def test_the_poll_protocol_gets_such_a_job_too(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    polled = await cluster.local.call("POST", "/v1/miners/poll", "miner", {"max_wait_seconds": 5})
    assert (polled.status, polled.json["job_id"]) == (200, job["job_id"])
    assert polled.json["payload"]["input"] == {"prompt": "Say hello."}
    assert polled.json["constraints"]["max_units"] == job["max_units"]
    path = f"/v1/miners/{job['job_id']}/result"
    done = await cluster.local.call("POST", path, "miner", {"result": {"text": "Hello."}})
    assert done.status == 200, done
    shown = f"/v1/jobs/{job['job_id']}"
    final = await cluster.home.until(shown, "client", lambda j: j["status"] == "completed")
    assert final["result"] == {"text": "Hello."}


@pytest.mark.parametrize("first", ["stranger", "miner"])
async def test_of_fifty_claims_at_two_coordinators_one_wins(first: str, tmp_path: Path) -> None:
    async with open_cluster(tmp_path, claim_wait=20.0) as cluster:
        home, local = cluster.home, cluster.local
        at: dict[str, World] = {"stranger": home, "miner": local, "rival": local}
        for who, world in at.items():
            await world.register(who)
        job = await home.submit()
        cluster.chain.is_automatic = False
        begun = asyncio.create_task(at[first].claim(job["job_id"], first))
        await cluster.until(lambda: cluster.chain.get_status().mempool.transactions)
        names = [list(at)[number % 3] for number in range(49)]
        others = asyncio.gather(*(at[who].claim(job["job_id"], who) for who in names))
        await cluster.until(lambda: cluster.chain.get_status().mempool.transactions == 2)
        cluster.chain.is_automatic = True
        cluster.chain.produce()
        assert (await begun).status == 200, "first in block order"
        # Whose own claim is on its way is told so, and gets the lease again once it is granted.
        refused = {who: {503, 200} if who == first else {503, 409} for who in at}
        for who, reply in zip(names, await others, strict=True):
            assert reply.status in refused[who], reply
        assert count_claims(cluster) == 2
        miners = [get_miner(cluster.chain.get_view(), f"miner_{who}") for who in at]
        assert [miner.claims for miner in miners if miner] == [int(who == first) for who in at]


async def test_a_claim_that_is_long_on_its_way_is_made_once(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    cluster.chain.is_automatic = False
    for _ in range(2):
        pending = await cluster.local.claim(job["job_id"])
        assert (pending.status, pending.json["error_code"]) == (503, "CLAIM_PENDING")
    cluster.chain.is_automatic = True
    cluster.chain.produce()
    assert (await cluster.local.claim(job["job_id"])).status == 200
    assert count_claims(cluster) == 1


def count_claims(cluster: Cluster) -> int:
    payloads = [each.payload for block in cluster.chain.blocks for each in block.transactions]
    return sum(isinstance(payload, JobClaim) for payload in payloads)


async def test_a_rivals_claim_takes_nothing_of_one_that_is_long_on_its_way(
    cluster: Cluster,
) -> None:
    """It would fail behind the first, and the row that says what the first is owed go with it."""
    for who in ("miner", "rival"):
        await cluster.local.register(who)
    job = await cluster.home.submit()
    cluster.chain.is_automatic = False
    pending = await cluster.local.claim(job["job_id"])
    assert (pending.status, pending.json["error_code"]) == (503, "CLAIM_PENDING")
    refused = await cluster.local.claim(job["job_id"], "rival")
    assert (refused.status, refused.json["error_code"]) == (409, "JOB_ALREADY_CLAIMED")
    cluster.chain.is_automatic = True
    cluster.chain.produce()
    claimed = await cluster.local.claim(job["job_id"])
    assert (claimed.status, claimed.json["content"]["input"]) == (200, {"prompt": "Say hello."})
    assert count_claims(cluster) == 1


async def test_a_report_behind_the_end_of_a_lease_is_not_sent(cluster: Cluster) -> None:
    await cluster.local.register()
    path = f"/v1/jobs/{(await cluster.home.submit())['job_id']}"
    assert (await cluster.local.claim(path.rpartition("/")[2])).status == 200
    cluster.chain.is_automatic = False
    name = {"miner_id": "miner_miner"}
    report = {**name, "reason_code": int(Reason.MINER_DRAINED)}
    first = await cluster.local.call("POST", path + "/fail", "miner", report)
    again = await cluster.local.call("POST", path + "/fail", "miner", report)
    assert (first.status, again.json) == (200, first.json)
    late = await cluster.local.call("POST", path + "/complete", "miner", {**name, "result": "Hi."})
    assert (late.status, late.json["error_code"]) == (409, "JOB_NOT_LEASED"), late
    assert cluster.chain.get_status().mempool.transactions == 1


async def test_a_claim_that_came_too_late_leaves_nothing(cluster: Cluster) -> None:
    await cluster.home.register("stranger")
    await cluster.local.register()
    job = await cluster.home.submit()
    cluster.chain.is_automatic = False
    both = asyncio.gather(
        cluster.home.claim(job["job_id"], "stranger"), cluster.local.claim(job["job_id"])
    )
    await cluster.until(lambda: cluster.chain.get_status().mempool.transactions == 2)
    cluster.chain.is_automatic = True
    cluster.chain.produce()
    assert sorted(reply.status for reply in await both) == [200, 409]
    rows = await cluster.local.database.read(lambda c: c.execute(ROWS.select()).all())
    entry = get_job(cluster.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert entry is not None and entry.lease is not None
    assert len(rows) == (entry.lease.miner == "miner_miner")


async def test_a_coordinator_that_is_not_there_costs_no_claim(cluster: Cluster) -> None:
    await register(cluster.local)
    job = await cluster.home.submit()
    await cluster.local.call("GET", "/v1/jobs/available?miner_id=miner_digger", "digger")
    cluster.relay.is_cut = True
    refused = await claim_signed(cluster, job)
    assert (refused.status, refused.json["error_code"]) == (503, "COORDINATOR_UNREACHABLE")
    assert refused.json["coordinator"] == format_address(cluster.home.coordinator.address)
    miner = get_miner(cluster.chain.get_view(), "miner_digger")
    assert miner is not None
    assert miner.claims == 0
    offered = await cluster.local.call("GET", "/v1/jobs/available?miner_id=miner_digger", "digger")
    assert offered.json is None, "its jobs are not offered while it is silent"
    reconnect(cluster)
    assert (await claim_signed(cluster, job)).status == 200


async def test_late_content_is_waited_for(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    cut_at(cluster, Fetch)
    pending = await cluster.local.claim(job["job_id"])
    assert (pending.status, pending.json["error_code"]) == (503, "CONTENT_PENDING")
    reconnect(cluster)
    claimed = await cluster.local.claim(job["job_id"])
    assert (claimed.status, claimed.json["content"]["input"]) == (200, {"prompt": "Say hello."})


async def test_content_that_never_comes_is_given_back_without_a_word_of_the_miner(
    cluster: Cluster,
) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    cut_at(cluster, Fetch)
    assert (await cluster.local.claim(job["job_id"])).status == 503
    cluster.chain.clock.advance(31)
    await cluster.until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", Reason.CONTENT_UNAVAILABLE)]
    assert get_bond(cluster, "miner_miner") == cluster.chain.parameters.minimum_bond
    await cluster.local.coordinator.wait_followed()
    assert await cluster.local.database.read(lambda c: c.execute(ROWS.select()).all()) == []


async def test_a_dead_homes_queued_job_is_refunded(cluster: Cluster) -> None:
    await cluster.local.register()
    before = cluster.home.get_balance("client")
    job = await cluster.home.submit(timeout_seconds=60)
    await cluster.home.stop()
    refused = await cluster.local.claim(job["job_id"])
    assert (refused.status, refused.json["error_code"]) == (503, "COORDINATOR_UNREACHABLE")
    cluster.home.pass_time(61)
    entry = get_job(cluster.chain.get_view(), bytes.fromhex(job["job_id"][4:]))
    assert entry is not None
    assert (entry.status.name, entry.reason_code) == ("FAILED", Reason.NO_MINER_IN_TIME)
    assert before - cluster.home.get_balance("client") < 10_000, "the fee alone"


async def test_the_lease_outlives_a_restart_of_local(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    assert (await cluster.local.claim(job["job_id"])).status == 200
    await cluster.local.restart()
    path = f"/v1/jobs/{job['job_id']}"
    body = {"miner_id": "miner_miner", "result": "Hello."}
    assert (await cluster.local.call("POST", path + "/complete", "miner", body)).status == 200
    await cluster.home.until(path, "client", lambda j: j["status"] == "completed")


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"content": '{"a": 1}'}, Reason.CONTENT_UNAVAILABLE),
        ({"input": {"prompt": "another"}}, Reason.TERMS_NOT_COVERED),
        ({"model": "another"}, Reason.TERMS_NOT_COVERED),
        ({"service": "text_embedding"}, Reason.TERMS_NOT_COVERED),
        ({"salt": bytes(32)}, Reason.TERMS_NOT_COVERED),
        ({"max_price": 10**9}, Reason.TERMS_NOT_COVERED),
    ],
)
async def test_what_was_not_escrowed_for_is_given_back(
    cluster: Cluster, lie: dict[str, Any], reason: Reason
) -> None:
    """A custodial miner's coordinator checks for it what a miner of its own key checks itself."""
    await cluster.local.register()
    job = await cluster.home.submit()
    await change_rows(cluster.home.coordinator, bytes.fromhex(job["job_id"][4:]), lie)
    reply = await cluster.local.claim(job["job_id"])
    assert (reply.status, reply.json["error_code"]) == (409, "JOB_NOT_LEASED"), reply
    await cluster.until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", reason)]
    assert get_bond(cluster, "miner_miner") == cluster.chain.parameters.minimum_bond


async def test_an_offer_that_promised_more_is_given_back(cluster: Cluster) -> None:
    """The claim commits to a price by the offer, which nobody signed; the terms are what counts."""

    def promise(data: bytes) -> bytes:
        answer = decode_answer(data)
        if not isinstance(answer, Described):
            return data
        offers = tuple(
            msgspec.structs.replace(offer, max_price=2 * offer.max_price) for offer in answer.offers
        )
        return codec.encode(Described(answer.key, offers))

    await cluster.local.register()
    job = await cluster.home.submit()
    cluster.relay.change = promise
    assert (await cluster.local.claim(job["job_id"])).status == 409
    await cluster.until(lambda: list_attempts(cluster, job))
    assert list_attempts(cluster, job) == [("RELEASED", Reason.TERMS_NOT_COVERED)]


async def change_rows(coordinator: Coordinator, job_id: bytes, lie: dict[str, Any]) -> None:
    """Have a coordinator say of its job what is not so."""

    def write(connection: Any) -> None:
        job = sql.find(connection, JobRow, job_id=job_id)
        assert job is not None
        content = sql.find(connection, ContentRow, job_row_id=job.row_id)
        assert content is not None and content.content is not None
        columns = {name: value for name, value in lie.items() if name in ("salt", "max_price")}
        if columns:
            sql.update(connection, job, **columns)
        elif "content" in lie:
            sql.update(connection, content, content=lie["content"])
        else:
            members = {**json.loads(content.content), **lie}
            sql.update(connection, content, content=json.dumps(members))

    await coordinator.storage.write(write)


async def test_nothing_is_claimed_that_could_not_be_opened(cluster: Cluster) -> None:
    """A custodial miner may announce a key of its own, whose secret is not kept here."""
    await cluster.local.register(encryption_key=bytes(BOX_KEY.public_key).hex())
    job = await cluster.home.submit()
    offered = await cluster.local.call("GET", "/v1/jobs/available", "miner")
    assert offered.json is None
    refused = await cluster.local.claim(job["job_id"])
    assert refused.status == 422, refused
    assert list_attempts(cluster, job) == []


async def test_a_heartbeat_fails_for_no_fault_of_the_miner(cluster: Cluster) -> None:
    await cluster.local.register()
    job = await cluster.home.submit()
    assert (await cluster.local.claim(job["job_id"])).status == 200
    path = f"/v1/jobs/{job['job_id']}"
    beat = {"miner_id": "miner_miner", "progress": 30, "phase": "running"}
    cut_at(cluster, Report)
    for _ in range(2):
        noted = await cluster.local.call("POST", path + "/heartbeat", "miner", beat)
        assert (noted.status, noted.json["cancel_requested"]) == (200, False)
    assert (await cluster.home.call("DELETE", path, "client")).status == 200
    noted = await cluster.local.call("POST", path + "/heartbeat", "miner", beat)
    assert (noted.status, noted.json["cancel_requested"]) == (200, True), "the chain says it"
    wrong = {**beat, "miner_id": "miner_rival"}
    await cluster.local.register("rival")
    refused = await cluster.local.call("POST", path + "/heartbeat", "rival", wrong)
    assert (refused.status, refused.json["error_code"]) == (409, "LEASE_NOT_HELD")


async def test_a_lease_is_given_back_at_ones_own_coordinator(cluster: Cluster) -> None:
    await cluster.local.register()
    await cluster.local.register("rival")
    job = await cluster.home.submit()
    assert (await cluster.local.claim(job["job_id"])).status == 200
    cluster.relay.is_cut = True
    body = {"miner_id": "miner_miner", "reason_code": int(Reason.MINER_DRAINED)}
    path = f"/v1/jobs/{job['job_id']}"
    assert (await cluster.local.call("POST", path + "/fail", "miner", body)).status == 200
    await cluster.until(lambda: list_attempts(cluster, job))
    reconnect(cluster)
    offered = await cluster.local.call("GET", "/v1/jobs/available?wait=5", "rival")
    assert offered.json["job_id"] == job["job_id"]
    assert (await cluster.local.call("GET", "/v1/jobs/available", "miner")).json is None
    assert (await cluster.local.claim(job["job_id"], "rival")).status == 200


async def test_a_large_content_comes_in_pieces(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, maximum_json_bytes=8 * 2**20) as cluster:
        await register(cluster.local)
        await cluster.local.register()
        turns = [{"role": "user", "content": "é" * 700_000 + str(turn)} for turn in range(3)]
        body = {"input": {"messages": turns}, "params": {"max_tokens": 16}, "max_cost": "9"}
        data = json.dumps(body, ensure_ascii=False).encode()
        jobs = []
        for _ in range(2):
            job = (await cluster.home.call("POST", "/v1/jobs", "client", data=data)).json
            path = f"/v1/jobs/{job['job_id']}"
            await cluster.home.until(path, "client", lambda j: j["phase"] == "queued")
            jobs.append(job)
        claimed = await claim_signed(cluster, jobs[0])
        assert claimed.status == 200, claimed
        assert len(claimed.json["content_sealed"]) == 3
        assert open_content(claimed.json)["content"]["input"]["messages"] == turns
        opened = await cluster.local.claim(jobs[1]["job_id"])
        assert opened.json["content"]["input"]["messages"] == turns
