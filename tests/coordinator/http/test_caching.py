from tests.support.world import World


async def test_every_json_answer_to_a_get_has_a_tag_and_is_not_sent_twice(world: World) -> None:
    for path, who in (("/v1/jobs", "client"), ("/openapi.json", None)):
        first = await world.call("GET", path, who)
        assert first.status == 200
        tag = first.headers["ETag"]
        again = await world.call("GET", path, who, headers={"If-None-Match": f'"x", {tag}'})
        assert again.status == 304
        assert again.body == b""
        assert again.headers["ETag"] == tag
        weak = await world.call("GET", path, who, headers={"If-None-Match": f"W/{tag}"})
        assert weak.status == 304, "as a proxy that compresses hands it on"


async def test_what_is_for_one_account_is_kept_by_its_client_alone(world: World) -> None:
    reply = await world.call("GET", "/v1/jobs", "client")
    assert reply.headers["Cache-Control"] == "private, no-cache"


async def test_errors_and_changes_are_not_kept(world: World) -> None:
    for reply in (
        await world.call("GET", "/v1/jobs/job_0", "client"),
        await world.call("POST", "/v1/jobs", "client", {"prompt": "hello"}),
    ):
        assert reply.headers["Cache-Control"] == "no-store"
        assert "ETag" not in reply.headers
