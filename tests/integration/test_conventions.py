"""What holds for every operation of a running node, whatever it does: errors, ids, limits, tags,
repetitions and lists. By construction: the operations are those of the node's own document.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_cases import CASES, Case
from tests.support.custody import post, until
from tests.support.holdings import FILE, Holdings, build_form, open_holdings
from tests.support.node import Reply

PROBLEM = {"type", "title", "status", "detail", "instance", "error_code", "request_id"}
OPENAI_ERROR = {"message", "type", "param", "code"}
PAGE = {"total", "limit", "offset", "has_more", "next_cursor"}
SHOWS_SECRET = {
    "POST /v1/webhooks", "POST /v1/webhooks/{webhook_id}/rotate", "POST /v1/api-keys",
}  # fmt: skip
"""An answer that shows a secret is not kept for a repetition."""
NOT_DONE = {
    "POST /v1/jobs/{job_id}/fail", "POST /v1/miners/{job_id}/fail",
    "POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings",
    "POST /v1/audio/transcriptions", "POST /v1/images/generations",
}  # fmt: skip
"""What is refused in `Holdings`: the lease has ended, no miner holds the model."""
LINES = "POST /v1/jobs/{job_id}/stream"
"""Its body is lines, of which the last may be cut off."""


@pytest.fixture
async def holdings(tmp_path: Path) -> AsyncIterator[Holdings]:
    async with open_holdings(tmp_path) as opened:
        yield opened


def get_owner(case: Case) -> str:
    return (case.parties or tuple(sorted(case.roles)) or ("nobody",))[0]


def iterate_cases(method: str = "") -> Iterator[tuple[str, Case]]:
    return ((name, case) for name, case in CASES.items() if name.startswith(method))


def check_error(name: str, reply: Reply, is_openai: bool) -> None:
    """Hold an error to its one shape."""
    if is_openai:
        assert reply.headers["Content-Type"].startswith("application/json"), name
        assert reply.body["error"].keys() >= OPENAI_ERROR, (name, reply.body)
    else:
        assert reply.headers["Content-Type"].startswith("application/problem+json"), name
        assert reply.body.keys() >= PROBLEM, (name, reply.body)
        assert reply.body["status"] == reply.status, name
        assert reply.body["request_id"] == reply.headers["X-Request-Id"], name


async def list_tags(holdings: Holdings) -> dict[str, str]:
    document = await holdings.node.read("/openapi.json")
    return {
        f"{method.upper()} {path}": operation["tags"][0]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


async def test_errors_ids_and_limits(holdings: Holdings) -> None:
    tags = await list_tags(holdings)
    assert set(tags) == set(CASES)
    for number, (name, tag) in enumerate(tags.items()):
        case, is_openai = CASES[name], tag == "OpenAI"
        method, path = name.split()
        path, sent = holdings.fill(case.path or path, "miner"), {"X-Request-Id": f"mine-{number}"}
        if case.roles:
            refused = await holdings.ask("nobody", method, path, headers=sent)
            assert refused.status == 401, name
            assert refused.headers["X-Request-Id"] == sent["X-Request-Id"], name
            check_error(name, refused, is_openai)
        if method == "POST" and name != LINES:
            broken = await holdings.ask(get_owner(case), method, path, b"{", headers=sent)
            if broken.status >= 400:
                assert broken.status in (400, 415), (name, broken)
                assert broken.headers["X-Request-Id"] == sent["X-Request-Id"], name
                check_error(name, broken, is_openai)
                assert ("RateLimit" in broken.headers) == bool(case.roles), name
        wrong = await holdings.ask("operator", "PATCH", path, {}, headers=sent)
        assert (wrong.status, wrong.headers["X-Request-Id"]) == (405, sent["X-Request-Id"]), name
        assert method in wrong.headers["Allow"], name
        check_error(name, wrong, is_openai=False)


async def test_a_get_has_its_headers_and_a_tag_and_is_not_sent_twice(holdings: Holdings) -> None:
    for name, case in iterate_cases("GET"):
        owner, sent = get_owner(case), {"X-Request-Id": "of-this-one"}
        path = holdings.fill(case.path or name.split()[1], owner)
        reply = await holdings.ask(owner, "GET", path, headers=sent)
        assert reply.status == 200, (name, reply)
        assert reply.headers["X-Request-Id"] == sent["X-Request-Id"], name
        assert reply.headers["X-Content-Type-Options"] == "nosniff", name
        assert ("RateLimit" in reply.headers) == bool(case.roles), name
        assert ("RateLimit-Policy" in reply.headers) == bool(case.roles), name
        if not reply.headers["Content-Type"].startswith("application/json"):
            continue
        tag = reply.headers["ETag"]
        again = await holdings.ask(
            owner, "GET", "/api" + path, headers={**sent, "If-None-Match": tag}
        )
        if again.status == 200:
            assert again.headers["ETag"] != tag, f"{name} changes by itself"
        else:
            assert (again.status, again.headers["ETag"], again.body) == (304, tag, b""), name
            assert ("RateLimit" in again.headers) == bool(case.roles), name


async def test_a_post_is_done_once(holdings: Holdings) -> None:
    document = await holdings.node.read("/openapi.json")
    takes_key = {
        f"POST {path}"
        for path, item in document["paths"].items()
        if any(p["name"] == "Idempotency-Key" for p in item.get("post", {}).get("parameters", ()))
    }
    keyed = {name for name, case in iterate_cases("POST") if case.roles}
    assert takes_key == keyed - SHOWS_SECRET
    refused = set()
    for number, name in enumerate(sorted(takes_key, key=_rank)):
        case, headers = CASES[name], {"Idempotency-Key": f"key-{number}"}
        who, path = get_owner(case), holdings.fill(case.path or name.split()[1], "miner")
        bad = {"Idempotency-Key": "not one"}
        reply = await holdings.ask(who, "POST", path, _build_body(holdings, case), bad)
        assert reply.status == 400, (name, reply)
        first = await holdings.ask(who, "POST", path, _build_body(holdings, case), headers)
        if first.status >= 300:
            refused.add(name)
            continue
        assert "Idempotent-Replayed" not in first.headers, name
        again = await holdings.ask(who, "POST", path, _build_body(holdings, case), headers)
        assert (again.status, again.body) == (first.status, first.body), name
        assert again.headers["Idempotent-Replayed"] == "true", name
        assert "RateLimit" in again.headers, name
        if name.endswith("/complete"):
            job = path.removesuffix("/complete")
            await until(
                holdings.node, job, holdings.keys[who], lambda j: j["status"] == "completed"
            )
        other = await holdings.ask(who, "POST", path, _build_body(holdings, case, 1), headers)
        assert (other.status, other.body["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED"), name
    assert refused == NOT_DONE


def _rank(name: str) -> tuple[int, str]:
    """An offer is accepted for a job that waits, and what ends a job comes last."""
    last = name.rpartition("/")[2]
    return {"accept": 0, "complete": 2, "result": 3, "fail": 3, "cancel": 3}.get(last, 1), name


def _build_body(holdings: Holdings, case: Case, more: int = 0) -> Any:
    """Return a case's body, or another one that is right too."""
    if isinstance(case.body, bytes):
        return case.body * (1 + more)
    filled = holdings.fill(case.body or {}, "miner")
    if case.form:
        return build_form(FILE + bytes(more), **filled)
    return {**filled, "more": more} if more else filled


async def test_lists_are_whole_and_each_page_goes_on_where_the_last_ended(
    holdings: Holdings,
) -> None:
    await _double(holdings)
    document = await holdings.node.read("/openapi.json")
    seen = set()
    for name, case in iterate_cases("GET"):
        path = name.split()[1]
        operation = document["paths"][path]["get"]
        names = {parameter["name"] for parameter in operation["parameters"]}
        if not {"cursor", "format"} <= names:
            continue
        seen.add(path)
        who, url = get_owner(case), holdings.fill(case.path or path, "miner")
        page = (await holdings.ask(who, "GET", f"{url}?limit=100")).body
        assert page.keys() >= PAGE, path
        (items,) = [value for key, value in page.items() if isinstance(value, list)]
        assert page["total"] == len(items) >= 2, (path, page)
        assert (page["limit"], page["offset"], page["has_more"]) == (100, 0, False), path
        assert page["next_cursor"] is None, path
        bare = await holdings.ask(who, "GET", f"{url}?limit=100&format=array")
        # The audit log is of all that is done, and nothing of a list changes what is on it.
        assert bare.body == items, path
        assert await _turn_pages(holdings, who, url) == items, path
        second = (await holdings.ask(who, "GET", f"{url}?limit=1&offset=1")).body
        assert [value for value in second.values() if isinstance(value, list)] == [items[1:2]]
        for bad in (
            "limit=0",
            "limit=101",
            "offset=-1",
            "cursor=x",
            "format=csv",
            "limit=1&limit=2",
        ):
            assert (await holdings.ask(who, "GET", f"{url}?{bad}")).status in (400, 422), (
                path,
                bad,
            )
    assert len(seen) >= 9, seen


async def _turn_pages(holdings: Holdings, who: str, url: str) -> list[Any]:
    """Return the items of a list, one page of one item after the other."""
    found: list[Any] = []
    cursor = ""
    while True:
        page = (await holdings.ask(who, "GET", f"{url}?limit=1{cursor}")).body
        found += next(value for value in page.values() if isinstance(value, list))
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_lists_of_the_explorer_go_on_too(holdings: Holdings) -> None:
    await _double(holdings)
    for path in ("blocks", "transactions", "receipts", "miners", "offers"):
        url = f"{holdings.node.url}/v1/explorer/{path}"
        whole = (await holdings.node.read(f"/v1/explorer/{path}", limit=100))["items"]
        assert len(whole) >= 2, path
        found: list[Any] = []
        cursor = ""
        while True:
            async with holdings.node.session.get(f"{url}?limit=1{cursor}") as response:
                page = await response.json()
            found += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == whole, path
        assert await holdings.node.read(f"/explorer/{path}", limit=100) == whole, path


async def _double(holdings: Holdings) -> None:
    """Make a second one of what there is but one of."""
    node, client, miner = holdings.node, holdings.keys["client"], holdings.keys["miner"]
    offer = {"miner_id": "mine", "job_type": "llm_inference", "price": "0.0002"}
    await post(node, "/v1/marketplace/offers", miner, offer)
    hook = {"url": "http://127.0.0.1:1024/second", "events": ["job_update"]}
    await post(node, "/v1/webhooks", client, hook)
    await post(node, f"/v1/webhooks/{holdings.ids['webhook']}/test", client, None)
    job = f"/v1/jobs/{holdings.ids['leased']}"
    await post(node, job + "/complete", miner, {"miner_id": "mine", "result": "Ho", "units": 3})
    await until(node, job, client, lambda j: j["status"] == "completed")
