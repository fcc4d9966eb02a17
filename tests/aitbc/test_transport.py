"""Retries, failover and limits, against real servers on loopback."""

import time
from email.utils import formatdate

import pytest

from aitbc import errors
from aitbc.calls import jobs as calls
from aitbc.cli.devnet.ports import find_free_port
from aitbc.exchange import Answer, Endpoints, Exchange, RetryPolicy, TransportSettings
from aitbc.models import Job
from aitbc.steps import Call
from aitbc.transport import AsyncTransport, SyncTransport
from tests.support.scripted_server import Prepared, serve

FAST = RetryPolicy(attempts=4, first_delay=0.001)
SETTINGS = TransportSettings(api_key="aitbc_test", timeout=5, policy=FAST)
JOB = {"job_id": "job_1", "status": "pending"}
GET = calls.get_job("job_1")


def send(url: str | list[str], call: Call[Job] = GET) -> Job:
    transport = SyncTransport(url, SETTINGS)
    try:
        return transport.send(call)
    finally:
        transport.close()


def test_a_passing_failure_is_retried_and_the_key_is_sent() -> None:
    with serve(Prepared(503, {}), Prepared(0), Prepared(200, JOB)) as server:
        assert send(server.url).job_id == "job_1"
    assert [asked.headers["x-api-key"] for asked in server.asked] == ["aitbc_test"] * 3


async def test_the_asynchronous_transport_does_the_same() -> None:
    with serve(Prepared(503, {}), Prepared(0), Prepared(200, JOB)) as server:
        transport = AsyncTransport(server.url, SETTINGS)
        assert (await transport.send(GET)).status == "pending"
        await transport.close()
    assert len(server.asked) == 3


def test_a_creating_call_carries_one_key_over_its_retries() -> None:
    with serve(Prepared(0), Prepared(201, JOB)) as server:
        send(server.url, calls.create_job(prompt="hello"))
    keys = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(server.asked) == 2
    assert len(keys) == 1


def test_what_may_have_happened_is_not_sent_again_without_a_key() -> None:
    with serve(Prepared(0)) as server, pytest.raises(errors.ConnectionFailedError) as caught:
        send(server.url, Call("POST", "/x", Job.model_validate, body={}))
    assert caught.value.is_sent
    assert len(server.asked) == 1


def test_attempts_end() -> None:
    with serve(Prepared(502, {})) as server, pytest.raises(errors.ServerError):
        send(server.url)
    assert len(server.asked) == FAST.attempts


def test_a_refusal_is_not_retried() -> None:
    refusal = Prepared(404, {"error_code": "JOB_NOT_FOUND"})
    with serve(refusal) as server, pytest.raises(errors.JobNotFoundError):
        send(server.url)
    assert len(server.asked) == 1


def test_retry_after_is_honoured() -> None:
    limited = Prepared(429, {"error_code": "RATE_LIMIT_EXCEEDED"}, (("Retry-After", "1"),))
    with serve(limited, Prepared(200, JOB)) as server:
        started = time.monotonic()
        send(server.url)
    assert 1.0 <= time.monotonic() - started < 4.0


def test_a_retry_after_beyond_the_bound_is_raised() -> None:
    limited = Prepared(429, {"error_code": "RATE_LIMIT_EXCEEDED"}, (("Retry-After", "3600"),))
    with serve(limited) as server, pytest.raises(errors.RateLimitError) as caught:
        send(server.url)
    assert caught.value.retry_after == 3600


def test_the_next_address_takes_over() -> None:
    with serve(Prepared(200, JOB)) as server:
        assert send([f"http://127.0.0.1:{find_free_port()}", server.url]).job_id == "job_1"


def test_a_dead_address_is_reported_as_not_sent() -> None:
    with pytest.raises(errors.ConnectionFailedError) as caught:
        send(f"http://127.0.0.1:{find_free_port()}")
    assert not caught.value.is_sent


def test_an_answer_over_the_limit_is_cut() -> None:
    settings = TransportSettings(max_answer_bytes=1000, policy=FAST)
    with serve(Prepared(200, b"x" * 5000)) as server:
        transport = SyncTransport(server.url, settings)
        with pytest.raises(errors.InvalidAnswerError):
            transport.send(GET)
        transport.close()


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b'{"status": 3}', b"null"])
def test_an_answer_out_of_contract_is_named_as_such(body: bytes) -> None:
    with serve(Prepared(200, body)) as server, pytest.raises(errors.InvalidAnswerError):
        send(server.url)


def test_a_date_in_retry_after_is_read() -> None:
    exchange = Exchange(GET, FAST)
    headers = {"retry-after": formatdate(time.time() + 5, usegmt=True)}
    with pytest.raises(errors.UnavailableError) as caught:
        exchange.on_answer(Answer(503, headers, b"<html>"))
    assert caught.value.retry_after is not None
    assert 2 < caught.value.retry_after <= 5
    assert caught.value.code == "HTTP_503"


def test_the_delay_grows_and_is_bounded() -> None:
    policy = RetryPolicy(first_delay=1, longest_delay=5)
    assert [policy.compute_delay(attempt, 1.0) for attempt in (1, 2, 3, 9)] == [1, 2, 4, 5]
    assert policy.compute_delay(3, 0.0) == 0


@pytest.mark.parametrize("urls", [[], "ftp://host", "host:80", ["http://a", "http://"]])
def test_addresses_are_checked(urls: str | list[str]) -> None:
    with pytest.raises(ValueError, match="address"):
        Endpoints(urls)
