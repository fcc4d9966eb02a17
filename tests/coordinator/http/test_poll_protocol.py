"""Workers of the older poll protocol, by what they send: an object of capabilities, a header."""

from typing import Any

import pytest

from coordinator.http.poll_protocol import (
    build_payload,
    is_failure,
    read_capabilities,
    read_result,
)
from tests.support.world import World

FOUND: dict[str, Any] = {
    "gpus": [
        {
            "name": "NVIDIA GeForce RTX 4060 Ti",
            "memory_mb": 16_380,
            "architecture": "ada_lovelace",
            "edge_optimized": True,
        }
    ],
    "cuda": "550.54",
    "models": ["llama3.2:latest", "smollm2-135m"],
    "price": 0.01,
    "supported_tasks": ["inference", "training"],
    "max_concurrent_jobs": 1,
}
REGISTRATION = {"capabilities": FOUND, "concurrency": 1, "region": "localhost"}


def test_what_an_older_worker_found_is_read() -> None:
    services, models, gpu = read_capabilities(FOUND)
    assert (services, models) == (["llm_inference"], ["llama3.2:latest", "smollm2-135m"])
    assert gpu == {"count": 1, "name": "NVIDIA GeForce RTX 4060 Ti", "memory": "16380MiB"}
    other = {
        "gpu": {"model": "RTX 4090", "memory_gb": 24},
        "compute": {"supported_models": ["qwen2.5"]},
    }
    assert read_capabilities(other)[1:] == (
        ["qwen2.5"],
        {"count": 1, "name": "RTX 4090", "memory": "24576MiB"},
    )


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"models": None, "gpus": None},
        {"models": [1, "", None, "x" * 201], "gpus": ["x", 1, None]},
        {"compute": [], "gpu": []},
    ],
)
def test_what_is_odd_is_left_out(odd: dict[str, Any]) -> None:
    assert read_capabilities(odd) == (["llm_inference"], [], {})


@pytest.mark.parametrize("size", [True, -1, 0, 1e300, float("inf"), "16", None, 2**70])
def test_an_odd_size_is_none(size: Any) -> None:
    assert read_capabilities({"gpus": [{"memory_mb": size}]})[2] == {"count": 1}


def test_text_goes_out_in_the_older_words_too() -> None:
    content = {"service": "llm_inference", "model": "m", "input": {"prompt": "Hi"}, "params": {}}
    assert build_payload(content) == {**content, "type": "inference", "prompt": "Hi"}
    chat = {"service": "llm_inference", "model": "m", "input": {"messages": []}, "params": {}}
    assert build_payload(chat) == {**chat, "type": "llm_inference"}
    assert build_payload({}) == {"type": None}
    assert is_failure({"status": "failed", "error": "no model"})
    assert not any(is_failure(result) for result in ("failed", {"status": "completed"}, {}))


def test_a_text_is_where_readers_look_for_it() -> None:
    said = {"status": "completed", "output": "Hello."}
    assert read_result("llm_inference", said) == {**said, "text": "Hello."}
    for service, result in (
        ("llm_inference", {"text": "a", "output": "b"}),
        ("llm_inference", {"output": 5}),
        ("llm_inference", "Hello."),
        ("custom_code", said),
    ):
        assert read_result(service, result) == result


async def test_the_header_names_the_miner(world: World) -> None:
    async def call(path: str, body: Any, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await world.call("POST", f"/v1/miners/{path}", "miner", body, headers=named)

    for name in ("one", "two"):
        reply = await call("register", REGISTRATION, X_Miner_ID=name)
        assert (reply.status, reply.json["miner_id"], reply.json["session_token"]) == (
            201, name, name,
        )  # fmt: skip
        shown = await world.until(f"/v1/miners/{name}", "miner", lambda m: m["status"] == "active")
        assert shown["models"] == FOUND["models"]
        assert shown["gpu_info"]["name"] == FOUND["gpus"][0]["name"]
    assert (await call("heartbeat", {})).status == 422
    beaten = await call("heartbeat", {}, X_Miner_ID="two")
    assert (beaten.status, beaten.json["miner_id"]) == (200, "two")
    by_query = await call("heartbeat?miner_id=one", {}, X_Miner_ID="two")
    assert by_query.json["miner_id"] == "one"
    by_body = await call("heartbeat?miner_id=two", {"miner_id": "one"}, X_Miner_ID="two")
    assert by_body.json["miner_id"] == "one"
    assert (await call("heartbeat", {}, X_Miner_ID="nobody")).status == 404
    for wrong in ("A", "a b", "a" * 65, "-a"):
        refused = await call("heartbeat", {}, X_Miner_ID=wrong)
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/miner_id")


async def test_a_key_is_never_a_miners_name(world: World) -> None:
    key = {"X-Miner-ID": world.people["miner"].key}
    body = {"capabilities": FOUND}
    made = await world.call("POST", "/v1/miners/register", "miner", body, headers=key)
    name = "miner_" + world.people["miner"].address.hex()[:16]
    assert (made.status, made.json["miner_id"]) == (201, name)
    await world.until(f"/v1/miners/{name}", "miner", lambda m: m["status"] == "active")
    again = await world.call("POST", "/v1/miners/register", "miner", body, headers=key)
    assert (again.status, again.json["miner_id"]) == (200, name)
    beaten = await world.call("POST", "/v1/miners/heartbeat", "miner", {}, headers=key)
    assert (beaten.status, beaten.json["miner_id"]) == (200, name)


async def test_a_result_that_says_it_is_none_pays_nobody(world: World) -> None:
    await world.register()
    job = await world.submit()
    polled = await world.call("POST", "/v1/miners/poll", "miner", {"max_wait_seconds": 5})
    assert (polled.json["payload"]["type"], polled.json["payload"]["prompt"]) == (
        "inference", "Say hello.",
    )  # fmt: skip
    path = f"/v1/miners/{job['job_id']}/result"
    failed = {"result": {"status": "failed", "error": "no model"}}
    reply = await world.call("POST", path, "miner", failed)
    assert (reply.status, reply.json["reason_code"]) == (200, 22_002)
    back = await world.until(
        f"/v1/jobs/{job['job_id']}", "client", lambda j: j["phase"] == "queued"
    )
    assert back["settlement"]["paid_base"] == "0"
