import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from coordinator import peer_limits, registration, sealing
from coordinator.relay_messages import (
    MAX_QUESTION_BYTES,
    Answer,
    Content,
    Describe,
    Described,
    Fetch,
    HandIn,
    Noted,
    Progress,
    Question,
    Refusal,
    Refused,
    Report,
    Taken,
    decode_answer,
)
from coordinator.relay_server import answer_peer
from ledger import codec
from ledger.rejection import Rejected
from ledger.state import get_job
from tests.coordinator.test_foreign_completion import complete, lease, wait_settled
from tests.support.coordinators import Cluster
from tests.support.world import make_seed

PEER = bytes(32)


async def ask(cluster: Cluster, data: bytes | Question, peer: bytes = PEER) -> Answer:
    raw = data if isinstance(data, bytes) else codec.encode(data)
    return decode_answer(await answer_peer(cluster.home.coordinator, peer, raw))


async def refuse(cluster: Cluster, data: bytes | Question, peer: bytes = PEER) -> Refusal:
    answer = await ask(cluster, data, peer)
    assert isinstance(answer, Refused), answer
    return answer.refusal


def get_id(job: dict[str, Any]) -> bytes:
    return bytes.fromhex(job["job_id"][4:])


def get_key(who: str) -> PrivateKey:
    return PrivateKey(registration.derive_encryption_secret(make_seed(who)))


def seal_to_home(cluster: Cluster, message: bytes) -> bytes:
    return sealing.seal(message, sealing.compute_box_key(cluster.home.coordinator.public_key))


async def test_a_job_is_described_without_what_it_is_about(cluster: Cluster) -> None:
    job = await cluster.home.submit(
        prompt="a private question", name="a private name", requirements={"gpu_count": 2}
    )
    answer = await ask(cluster, Describe((bytes(32), get_id(job))))
    assert isinstance(answer, Described)
    (offer,) = answer.offers
    assert answer.key == cluster.home.coordinator.public_key
    assert (offer.job, offer.model, offer.gpu_count) == (get_id(job), job["model"], 2)
    assert (offer.max_units, offer.max_price) == (job["max_units"], int(job["max_price_base"]))
    assert b"private" not in codec.encode(answer)
    await cluster.home.call("DELETE", f"/v1/jobs/{job['job_id']}", "client")
    answer = await ask(cluster, Describe((get_id(job),)))
    assert isinstance(answer, Described)
    assert answer.offers == (), "what has ended is nobody's business"


async def test_content_is_for_the_leaseholders_key_alone(cluster: Cluster) -> None:
    await cluster.local.register("rival")
    queued = await cluster.home.submit()
    assert await refuse(cluster, Fetch(get_id(queued), 1, 0)) is Refusal.NOT_LEASED
    job = await lease(cluster, prompt="a private question")
    answer = await ask(cluster, Fetch(get_id(job), 1, 0))
    assert isinstance(answer, Content)
    assert b"private" in sealing.unseal(answer.box, get_key("miner"))
    for who in ("rival", "client", "stranger"):
        with pytest.raises(Rejected):
            sealing.unseal(answer.box, get_key(who))
    assert await refuse(cluster, Fetch(get_id(job), 2, 0)) is Refusal.NOT_LEASED
    assert await refuse(cluster, Fetch(get_id(job), 1, 1)) is Refusal.CONTENT_GONE
    assert await refuse(cluster, Fetch(bytes(32), 1, 0)) is Refusal.UNKNOWN_JOB
    cluster.chain.clock.advance(601)
    assert await refuse(cluster, Fetch(get_id(job), 1, 0)) is Refusal.NOT_LEASED, "it is over"


async def test_progress_needs_the_token_from_inside_the_box(cluster: Cluster) -> None:
    job = await lease(cluster)
    sealed = await ask(cluster, Fetch(get_id(job), 1, 0))
    assert isinstance(sealed, Content)
    members = msgspec.json.decode(sealing.unseal(sealed.box, get_key("miner")))
    token = bytes.fromhex(members["report_token"])

    async def report(progress: Progress, number: int = 1) -> Answer:
        box = seal_to_home(cluster, codec.encode(progress))
        return await ask(cluster, Report(get_id(job), number, box))

    async def get_progress() -> int:
        shown = await cluster.home.call("GET", f"/v1/jobs/{job['job_id']}", "client")
        progress: int = shown.json["progress"]
        return progress

    assert await report(Progress(bytes(16), 99, None, 0, "")) == Refused(Refusal.TOKEN_WRONG)
    for phase in ("done", "settling", "nonsense"):
        wrong = await report(Progress(token, 99, phase, 0, ""))
        assert isinstance(wrong, Refused) and wrong.refusal is Refusal.MALFORMED
    late = await report(Progress(token, 99, None, 0, ""), 2)
    assert late == Refused(Refusal.NOT_LEASED)
    assert await refuse(cluster, Report(get_id(job), 1, b"no box")) is Refusal.MALFORMED
    assert await get_progress() == 0
    assert await report(Progress(token, 50, "running", 0, "so far")) == Noted(False, 6)
    assert await report(Progress(token, 50, None, 9, "gap")) == Noted(False, 6)
    assert await report(Progress(token, 20, None, 6, "")) == Noted(False, 6)
    assert await get_progress() == 50


async def test_the_token_of_one_lease_is_no_others(cluster: Cluster) -> None:
    tokens = set()
    for _ in range(2):
        job = await lease(cluster)
        entry = get_job(cluster.chain.get_view(), get_id(job))
        assert entry is not None and entry.lease is not None
        sealed = await ask(cluster, Fetch(get_id(job), entry.lease.number, 0))
        assert isinstance(sealed, Content)
        members = msgspec.json.decode(sealing.unseal(sealed.box, get_key("miner")))
        tokens.add(members["report_token"])
    assert len(tokens) == 2


async def test_a_result_is_taken_again_and_nobody_elses_instead(cluster: Cluster) -> None:
    job = await lease(cluster)
    assert (await complete(cluster, job)).status == 200
    handed = [
        data
        for data in cluster.relay.asked
        if isinstance(codec.decode(data, Question, MAX_QUESTION_BYTES), HandIn)  # type: ignore[arg-type]
    ]
    first = await ask(cluster, handed[0])
    assert isinstance(first, Taken), first
    await wait_settled(cluster, job)
    again = await ask(cluster, handed[0], bytes([1]) * 32)
    assert isinstance(again, Taken), "a replay changes nothing, whoever sends it"
    shown = await cluster.home.call("GET", f"/v1/jobs/{job['job_id']}", "client")
    assert (shown.json["status"], shown.json["result"]) == ("completed", "Hello.")


RESULT = {
    "miner": "miner_miner", "result": "x", "units": 1, "receipt": {}, "receipt_opening": {},
    "price_opening": {},
}  # fmt: skip


NO_RESULTS = (
    b"",
    b"[]",
    b"{}",
    b'{"a":NaN}',
    b"[" * 1_000,
    msgspec.json.encode(RESULT),
    msgspec.json.encode({**RESULT, "miner": "miner_rival"}),
    msgspec.json.encode({**RESULT, "result": 5}),
    msgspec.json.encode({**RESULT, "units": -1}),
    msgspec.json.encode({**RESULT, "extra": 1}),
    msgspec.json.encode({**RESULT, "receipt": None}),
)


async def test_what_is_no_result_is_refused_and_in_nobodys_way(cluster: Cluster) -> None:
    job = await lease(cluster)
    for result in NO_RESULTS:
        question = HandIn(get_id(job), 1, seal_to_home(cluster, result))
        assert await refuse(cluster, question) is Refusal.RESULT_REFUSED, result
    assert (await complete(cluster, job)).status == 200


async def test_a_peer_has_its_measure(cluster: Cluster) -> None:
    question = Describe((bytes(32),))
    for _ in range(peer_limits.QUESTIONS_PER_MINUTE - 1):
        assert await cluster.home.coordinator.peer_limits.may_ask(PEER)
    assert isinstance(await ask(cluster, question), Described)
    assert await refuse(cluster, question) is Refusal.BUSY
    assert isinstance(await ask(cluster, question, bytes([1]) * 32), Described)


async def test_so_many_questions_are_answered_at_once(cluster: Cluster) -> None:
    cluster.home.coordinator.peer_limits.running = peer_limits.MAX_AT_ONCE
    assert await refuse(cluster, Describe((bytes(32),))) is Refusal.BUSY
    cluster.home.coordinator.peer_limits.running = 0
    await asyncio.gather(*(ask(cluster, b"x") for _ in range(5)))
    assert cluster.home.coordinator.peer_limits.running == 0


async def test_a_fault_of_our_own_is_an_answer_that_says_nothing(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    await cluster.home.database.close()
    assert await refuse(cluster, Describe((bytes(32),))) is Refusal.FAILED
    assert "question failed" in "".join(capfd.readouterr())


HASHES = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**63 - 1)
QUESTIONS = st.one_of(
    st.builds(Describe, st.lists(HASHES, max_size=70).map(tuple)),
    st.builds(Fetch, HASHES, NUMBERS, st.integers(-1, 40)),
    st.builds(Report, HASHES, NUMBERS, st.binary(max_size=200)),
    st.builds(HandIn, HASHES, NUMBERS, st.binary(max_size=200)),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Return whole questions, questions with one changed byte, and bytes."""
    data = draw(st.one_of(QUESTIONS.map(codec.encode), st.binary(max_size=300)))
    if data and draw(st.booleans()):
        position = draw(st.integers(0, len(data) - 1))
        data = data[:position] + draw(st.binary(min_size=1, max_size=1)) + data[position + 1 :]
    return data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=frames(), peer=st.binary(min_size=32, max_size=32))
async def test_whatever_comes_an_answer_goes(cluster: Cluster, frame: bytes, peer: bytes) -> None:
    answer = await ask(cluster, frame, peer)
    if isinstance(answer, Refused):
        assert answer.refusal is not Refusal.FAILED


async def test_what_is_over_the_limit_is_not_read(cluster: Cluster) -> None:
    assert await refuse(cluster, bytes(MAX_QUESTION_BYTES + 1)) is Refusal.MALFORMED
