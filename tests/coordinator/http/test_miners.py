import asyncio

from ledger.state import get_miner
from ledger.transactions import MinerRegister
from tests.support import self_custody
from tests.support.shapes import find_missing, load_answer
from tests.support.world import World

NAME = "miner_miner"


async def test_registering_again_is_harmless(world: World) -> None:
    body = {"miner_id": NAME, "capabilities": ["llm_inference"], "gpu_info": {"name": "V100"}}
    bodies = [world.call("POST", "/v1/miners/register", "miner", body) for _ in range(5)]
    replies = await asyncio.gather(*bodies)
    assert sorted(reply.status for reply in replies) == [200] * 4 + [201]
    await world.until(f"/v1/miners/{NAME}", "client", lambda m: m["status"] == "active")
    again = await world.call("POST", "/v1/miners/register", "miner", body)
    assert (again.status, again.json["status"]) == (200, "active")
    assert again.json["transaction_id"] is None
    changed = {**body, "capabilities": ["llm_inference", "smollm2-135m"]}
    updated = await world.call("POST", "/v1/miners/register", "miner", changed)
    assert (updated.status, updated.json["transaction_id"][:3]) == (200, "tx_")
    await world.until(f"/v1/miners/{NAME}", "client", lambda m: len(m["capabilities"]) == 2)
    miner = get_miner(world.chain.get_view(), NAME)
    assert miner is not None
    assert miner.bond == world.chain.parameters.minimum_bond


async def test_a_miner_on_its_way_is_shown_as_its_transaction_has_it(world: World) -> None:
    world.chain.is_automatic = False
    body = {"miner_id": NAME, "capabilities": ["llm_inference"], "gpu_info": {"name": "V100"}}
    sent = await world.call("POST", "/v1/miners/register", "miner", body)
    assert (sent.status, sent.json["status"]) == (201, "registering")
    path = f"/v1/miners/{NAME}"
    waiting = await world.call("GET", path, "client")
    assert (waiting.json["status"], waiting.json["registered_at"]) == ("registering", None)
    assert (await world.call("GET", f"{path}/stats", "client")).status == 404
    world.chain.produce()
    active = await world.until(path, "client", lambda miner: miner["status"] == "active")
    later = {"status", "registered_at"}
    assert {name for name in active if active[name] != waiting.json[name]} == later


async def test_a_name_belongs_to_one_account(world: World) -> None:
    await world.register()
    taken = {"miner_id": NAME, "capabilities": []}
    reply = await world.call("POST", "/v1/miners/register", "rival", taken)
    assert (reply.status, reply.json["error_code"]) == (409, "MINER_ID_TAKEN")
    heartbeat = await world.call("POST", "/v1/miners/heartbeat", "rival", {"miner_id": NAME})
    assert heartbeat.status == 404
    assert (await world.call("GET", f"/v1/miners/{NAME}/earnings", "rival")).status == 404
    await world.register("miner", "second")
    unnamed = await world.call("POST", "/v1/miners/heartbeat", "miner", {})
    assert (unnamed.status, unnamed.json["errors"][0]["pointer"]) == (422, "/miner_id")
    named = await world.call("POST", "/v1/miners/heartbeat", "miner", {"miner_id": "second"})
    assert (named.status, named.json["status"]) == (200, "active")


async def test_statistics_are_there_for_any_key(world: World) -> None:
    await world.register()
    for who in ("client", "rival", "operator"):
        stats = await world.call("GET", f"/v1/miners/{NAME}/stats", who)
        assert not find_missing(stats.json, load_answer("a_miner_stats"), is_loose=False)
        assert (stats.json["reputation"], stats.json["total_jobs"]) == (2.5, 0)
    assert (await world.call("GET", "/v1/miners/nobody/stats", "client")).status == 404


async def test_each_earning_names_its_transaction(world: World) -> None:
    await world.register()
    job = await world.submit()
    await world.claim(job["job_id"])
    body = {"miner_id": NAME, "result": "x"}
    path = f"/v1/jobs/{job['job_id']}"
    done = await world.call("POST", path + "/complete", "miner", body)
    assert done.status == 200, done
    await world.until(path, "client", lambda j: j["status"] == "completed")
    page = (await world.call("GET", f"/v1/miners/{NAME}/earnings", "miner")).json
    (earning,) = page["earnings"]
    settlement = (await world.call("GET", path, "client")).json["settlement"]
    assert (earning["transaction_id"], earning["height"]) == (
        settlement["tx"],
        settlement["height"],
    )
    share = (
        int(earning["amount_base"]) * 500 // 10_000 + int(earning["amount_base"]) * 200 // 10_000
    )
    assert int(earning["earned_base"]) == int(earning["amount_base"]) - share
    assert page["total_earned_base"] == earning["earned_base"]
    stats = (await world.call("GET", f"/v1/miners/{NAME}/stats", "client")).json
    assert (stats["success_rate"], stats["total_jobs"]) == (1.0, 1)


async def test_registrations_that_are_none(world: World) -> None:
    good = {"miner_id": "a", "capabilities": []}
    for wrong, status in (
        ({"miner_id": "A"}, 422), ({"miner_id": "a\n"}, 422), ({"miner_id": "é"}, 422),
        ({"miner_id": "a" * 65}, 422), ({"capabilities": "x"}, 422), ({"capabilities": [1]}, 422),
        ({"capabilities": ["x" * 200] * 256}, 422), ({"prices": {"x": 0}}, 422),
        ({"prices": {"x": 2**63}}, 422), ({"gpu_info": {"memory": "much"}}, 422),
        ({"encryption_key": "00"}, 422), ({"bond_base": "-1"}, 422), ({"bond_base": "1e9"}, 422),
        ({"bond_base": "9223372036854775807"}, 402),
    ):  # fmt: skip
        reply = await world.call("POST", "/v1/miners/register", "miner", {**good, **wrong})
        assert reply.status == status, (wrong, reply)
    unsigned = await world.call("POST", "/v1/miners/register", "digger", good)
    assert unsigned.status == 422


async def test_a_miner_that_keeps_its_key_registers_by_its_own_signature(world: World) -> None:
    name = await self_custody.register(world)
    shown = (await world.call("GET", f"/v1/miners/{name}", "client")).json
    assert shown["prices"] == {"llm_inference": 1_000}
    assert shown["encryption_key"] == bytes(self_custody.BOX_KEY.public_key).hex()
    again = {"miner_id": name, "capabilities": ["llm_inference"]}
    reply = await world.call("POST", "/v1/miners/register", "digger", again)
    assert (reply.status, reply.json["status"]) == (200, "active")
    assert (await world.call("POST", "/v1/miners/poll", "digger", {"miner_id": name})).status == 422


async def test_what_a_miner_writes_on_the_chain_breaks_no_answer(world: World) -> None:
    for number, metadata in enumerate((
        b'{"capabilities": ["\\ud800"], "gpu_info": {"name": "\\udfff"}}',
        b'{"gpu_info": {"count": ' + b"9" * 3_900 + b', "memory": ' + b"9" * 60 + b"}}",
        b"[" * 4_000,
    )):  # fmt: skip
        name = f"miner_odd_{number}"
        bond = world.chain.parameters.minimum_bond
        payload = MinerRegister(name, bytes(self_custody.BOX_KEY.public_key), metadata, bond)
        signed = self_custody.sign(world, "digger", payload)
        await world.chain.submit([bytes.fromhex(signed)])
        await world.until(f"/v1/miners/{name}/stats", "client", lambda stats: True)
        shown = await world.call("GET", f"/v1/miners/{name}", "client")
        assert (shown.status, shown.json["capabilities"]) == (200, [])
        polled = await world.call("GET", f"/v1/jobs/available?miner_id={name}", "digger")
        assert polled.status == 200, polled
