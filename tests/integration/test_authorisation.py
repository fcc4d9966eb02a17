"""Every operation of a running node × every role × one's own, another's and no object at all.

By construction: the operations are those of the node's own document. One without a case fails.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_cases import ANYBODY, CASES, DONE, JOB, Case
from tests.support.holdings import ROLES, Holdings, clear, open_holdings
from tests.support.node import Reply

UNLISTED = ("/openapi.json", "/asyncapi.json")
"""Documents do not describe themselves."""
ALIKE: tuple[tuple[str, str, str, Any], ...] = (
    ("other_client", "POST", "/v1/jobs", {
        **JOB, "type": "whisper_transcription", "input": {"audio_url": "{file}"},
    }),
    ("other_client", "POST", "/v1/services/whisper/transcribe", {"audio_url": "{file}"}),
    ("other_client", "POST", "/v1/marketplace/offers/{offer}/accept", {"job_id": "{queued}"}),
    ("other_miner", "POST", "/v1/marketplace/offers", {
        "miner_id": "{miner}", "job_type": "llm_inference", "price": "0.1",
    }),
    ("other_miner", "GET", "/v1/jobs/available?miner_id={miner}", None),
    ("other_miner", "POST", "/v1/miners/heartbeat", {"miner_id": "{miner}"}),
    ("other_miner", "POST", "/v1/miners/poll", {"miner_id": "{miner}", "max_wait_seconds": 0}),
    ("other_miner", "POST", "/v1/jobs/{queued}/claim", {"miner_id": "{miner}"}),
    ("other_miner", "POST", "/v1/jobs/{leased}/complete", {**DONE, "miner_id": "{miner}"}),
)  # fmt: skip
"""Requests that name another's object in their body or query."""
OWN_LISTS = ("/v1/jobs", "/v1/jobs/history", "/v1/receipts", "/v1/files", "/v1/webhooks")


@pytest.fixture
async def holdings(tmp_path: Path) -> AsyncIterator[Holdings]:
    async with open_holdings(tmp_path) as opened:
        yield opened


async def test_who_may_do_what(holdings: Holdings) -> None:
    document = await holdings.node.read("/openapi.json")
    operations = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert operations == set(CASES), "each operation has a case, and each case an operation"
    wrong: list[str] = []
    for name, case in CASES.items():
        for who in ("nobody", *ROLES):
            wrong += await _check(holdings, name, case, who)
    # What changes or deletes an object comes last.
    for name, case in sorted(CASES.items(), key=lambda each: each[0].startswith("DELETE")):
        for who in case.parties or sorted(case.roles) or ["nobody"]:
            if not case.roles or ROLES[who] in case.roles:
                reply = await holdings.play(who, name, case)
                if reply.status in (401, 403, 404) or reply.status >= 500:
                    wrong.append(f"{name} as {who}: {reply.status} {reply.body}")
    assert wrong == []


async def _check(holdings: Holdings, name: str, case: Case, who: str) -> list[str]:
    """Return what is wrong with the answers to an account that is no party."""
    if case.roles is ANYBODY or who in case.parties:
        return []
    if who != "nobody" and ROLES[who] in case.roles:
        return await _check_hidden(holdings, name, case, who) if case.parties else []
    expected = 401 if who == "nobody" else 403
    found = [await holdings.play(who, name, case, is_absent) for is_absent in (False, True)]
    if [reply.status for reply in found] == [expected] * 2:
        return []
    return [f"{name} as {who}: {[reply.status for reply in found]}, not {expected}"]


async def _check_hidden(holdings: Holdings, name: str, case: Case, who: str) -> list[str]:
    anothers = await holdings.play(who, name, case)
    absent = await holdings.play(who, name, case, is_absent=True)
    if absent.status != 404 or anothers.status != case.refusal:
        return [f"{name} as {who}: {anothers.status} for another's, {absent.status} for none"]
    if case.refusal == 404 and _strip(holdings, anothers) != _strip(holdings, absent):
        return [f"{name} as {who}: {anothers.body} for another's, {absent.body} for none"]
    return []


def _strip(holdings: Holdings, reply: Reply) -> tuple[int, str]:
    """Return an answer without what names the request and the object."""
    kept = {**reply.body, "request_id": "", "instance": ""}
    text = json.dumps(kept, sort_keys=True)
    for each in holdings.ids.values():
        text = text.replace(each, "ID").replace(clear(each), "ID")
    return reply.status, text


async def test_anothers_object_in_a_body_is_as_good_as_none(holdings: Holdings) -> None:
    for who, method, path, body in ALIKE:
        anothers, absent = [
            await holdings.ask(
                who,
                method,
                holdings.fill(path, who, is_absent and "?" in path),
                holdings.fill(body, who, is_absent),
            )
            for is_absent in (False, True)
        ]
        assert 400 <= anothers.status < 500, (method, path, anothers)
        assert _strip(holdings, anothers) == _strip(holdings, absent), (method, path)


async def test_lists_hold_ones_own_alone(holdings: Holdings) -> None:
    for path in OWN_LISTS:
        assert (await holdings.ask("client", "GET", path)).body["total"] > 0, path
        for who in ("other_client", "other_miner", "operator"):
            reply = await holdings.ask(who, "GET", path)
            assert reply.status == 403 or reply.body["total"] == 0, (path, who)


async def test_a_key_is_taken_in_either_header_and_a_wrong_one_in_none(holdings: Holdings) -> None:
    key = holdings.keys["client"]["X-Api-Key"]
    for headers, status in (
        ({"Authorization": f"Bearer {key}"}, 200),
        ({"Authorization": f"Basic {key}"}, 401),
        ({"X-Api-Key": key[:-1]}, 401),
        ({"X-Api-Key": ""}, 401),
    ):
        reply = await holdings.ask("nobody", "GET", "/v1/jobs", headers=headers)
        assert reply.status == status, headers
        assert (reply.status == 401) == ("WWW-Authenticate" in reply.headers)


async def test_documents_are_open_and_live_updates_need_a_key(holdings: Holdings) -> None:
    for path in UNLISTED:
        assert (await holdings.node.get(path)).status == 200
    # Without a key the socket opens, is told nothing and waits for a first message.
    async with holdings.node.session.ws_connect(holdings.node.url + "/ws") as socket:
        await socket.send_json({"type": "subscribe"})
        closed = await socket.receive()
        assert closed.data == 4401, closed


async def test_what_lets_too_many_in_is_found(holdings: Holdings) -> None:
    narrower = Case(frozenset({"client"}))
    assert await _check(holdings, "GET /v1/files", narrower, "miner")
    assert await _check(holdings, "GET /v1/health", narrower, "nobody")
    shown = Case(frozenset({"client", "miner"}), "/v1/jobs/{settled}", parties=("client",))
    assert await _check(holdings, "GET /v1/jobs/{job_id}", shown, "miner")
