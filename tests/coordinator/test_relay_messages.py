import re
from pathlib import Path
from typing import Any

import pytest

from coordinator import peer_limits
from coordinator.relay_messages import (
    MAX_ANSWER_BYTES,
    MAX_JOBS,
    MAX_PIECES,
    MAX_QUESTION_BYTES,
    Content,
    Describe,
    Described,
    Fetch,
    HandIn,
    Noted,
    Offer,
    Refusal,
    Refused,
    Report,
    Taken,
    decode_answer,
    decode_question,
)
from ledger import codec
from ledger.rejection import Rejected, Rejection

PAGE = Path(__file__).parents[2] / "docs" / "protocol" / "relay.md"
JOB = bytes([1]) * 32
OFFER = Offer(JOB, "llm_inference", "tiny", None, 1, 2, 3, 4, 5)
QUESTIONS: dict[str, Any] = {
    "9201 91c420" + "01" * 32: Describe((JOB,)),
    "9402 c420" + "01" * 32 + "07 00": Fetch(JOB, 7, 0),
    "9403 c420" + "01" * 32 + "07 c402aabb": Report(JOB, 7, b"\xaa\xbb"),
    "9404 c420" + "01" * 32 + "07 c402aabb": HandIn(JOB, 7, b"\xaa\xbb"),
}
ANSWERS: dict[str, Any] = {
    "9301 c420" + "02" * 32 + "90": Described(bytes([2]) * 32, ()),
    "9402 01 c402aabb a26262": Content(1, b"\xaa\xbb", "bb"),
    "9303 c3 05": Noted(True, 5),
    "9204 c4025b5d": Taken(b"[]"),
    "9305 04 a0": Refused(Refusal.NOT_LEASED),
}


@pytest.mark.parametrize("text", QUESTIONS)
def test_the_bytes_of_a_question_stay_what_they_are(text: str) -> None:
    data = bytes.fromhex(text)
    assert codec.encode(QUESTIONS[text]) == data
    assert decode_question(data) == QUESTIONS[text]
    with pytest.raises(Rejected):
        decode_answer(data + b"\x00")


@pytest.mark.parametrize("text", ANSWERS)
def test_the_bytes_of_an_answer_stay_what_they_are(text: str) -> None:
    data = bytes.fromhex(text)
    assert codec.encode(ANSWERS[text]) == data
    assert decode_answer(data) == ANSWERS[text]


def test_a_longer_encoding_is_refused() -> None:
    data = bytes.fromhex("9402c420" + "01" * 32 + "cd000700")
    with pytest.raises(Rejected) as caught:
        decode_question(data)
    assert caught.value.reason is Rejection.NOT_CANONICAL


@pytest.mark.parametrize(
    "question",
    [
        Describe(()),
        Describe((JOB,) * (MAX_JOBS + 1)),
        Describe((b"short",)),
        Fetch(JOB, -1, 0),
        Fetch(JOB, 1, MAX_PIECES),
        HandIn(JOB, 1, bytes(MAX_QUESTION_BYTES)),
    ],
)
def test_what_is_out_of_bounds_is_refused(question: Any) -> None:
    with pytest.raises(Rejected):
        decode_question(codec.encode(question))


@pytest.mark.parametrize(
    "answer",
    [
        Described(bytes(32), (OFFER,) * (MAX_JOBS + 1)),
        Described(bytes(31), ()),
        Content(0, b"", ""),
        Content(1, bytes(2 * 2**20 + 49), ""),
        Refused(Refusal.BUSY, "x" * 257),
    ],
)
def test_an_answer_out_of_bounds_is_refused(answer: Any) -> None:
    with pytest.raises(Rejected):
        decode_answer(codec.encode(answer))


def test_a_reason_that_is_none_is_refused() -> None:
    with pytest.raises(Rejected):
        decode_answer(bytes.fromhex("93056aa0"))


def test_the_page_says_what_the_code_does() -> None:
    page = PAGE.read_text()
    reasons = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE)
    assert reasons == [(str(int(refusal)), refusal.name) for refusal in Refusal]
    assert f"a question has at most {MAX_QUESTION_BYTES // 2**20} MiB" in page
    assert f"an answer at most {MAX_ANSWER_BYTES // 2**20} MiB" in page
    assert f"jobs (1 to {MAX_JOBS})" in page
    assert f"number of pieces (1 to {MAX_PIECES})" in page
    content = peer_limits.CONTENT_PER_MINUTE // 2**20
    assert f"{peer_limits.QUESTIONS_PER_MINUTE:,} answers and {content} MiB" in page
    assert f"{peer_limits.MAX_AT_ONCE} questions of all peers" in page
