from tests.support.shapes import find_missing, load_answer
from tests.support.world import World


async def test_a_node_in_step(world: World) -> None:
    short = await world.call("GET", "/health")
    assert short.json == {"status": "ok", "version": "0.0.0"}
    full = (await world.call("GET", "/api/v1/health")).json
    assert not find_missing(full, load_answer("a_health"), is_loose=False)
    assert set(full["services"].values()) == {"healthy"}
    assert (await world.call("GET", "/livez")).body == b"ok\n"
    assert (await world.call("GET", "/readyz")).body == b"ok\n"
    verbose = (await world.call("GET", "/readyz?verbose")).json
    assert verbose["checks"] == {"database": True, "blockchain": True}


async def test_a_node_out_of_step_says_so(world: World) -> None:
    world.chain.behind_by = 100
    ready = await world.call("GET", "/readyz")
    assert (ready.status, ready.json["behind_by"]) == (503, 100)
    full = (await world.call("GET", "/v1/health")).json
    assert (full["status"], full["services"]["blockchain"]) == ("degraded", "unhealthy")
    assert (await world.call("GET", "/livez")).status == 200
