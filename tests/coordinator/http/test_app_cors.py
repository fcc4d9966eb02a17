from pathlib import Path

from tests.support.world import World, open_world

ORIGIN = "https://app.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-api-key,content-type,idempotency-key",
}


async def test_no_origin_is_let_in_unless_the_operator_says_so(world: World) -> None:
    reply = await world.call("GET", "/v1/jobs", "client", headers={"Origin": ORIGIN})
    assert reply.status == 200
    assert "Access-Control-Allow-Origin" not in reply.headers
    reply = await world.call("OPTIONS", "/v1/jobs", headers=PREFLIGHT)
    assert "Access-Control-Allow-Origin" not in reply.headers


async def test_pages_of_an_allowed_origin_may_call_every_route(tmp_path: Path) -> None:
    async with open_world(tmp_path, cors_origins=(ORIGIN,)) as world:
        await check_allowed(world)


async def check_allowed(world: World) -> None:
    for path in ("/v1/jobs", "/api/v1/jobs"):
        reply = await world.call("OPTIONS", path, headers=PREFLIGHT)
        assert reply.status == 200
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
        allowed = reply.headers["Access-Control-Allow-Headers"].lower()
        assert "x-api-key" in allowed and "idempotency-key" in allowed
        reply = await world.call("GET", path, "client", headers={"Origin": ORIGIN})
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in reply.headers
        # A page reads the error of a request that failed, as well.
        reply = await world.call("GET", path, headers={"Origin": ORIGIN})
        assert reply.status == 401
        assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
    reply = await world.call(
        "GET", "/v1/jobs", "client", headers={"Origin": "https://evil.example"}
    )
    assert "Access-Control-Allow-Origin" not in reply.headers
