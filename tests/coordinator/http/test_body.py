import json
import time

import pytest

from coordinator.http.body import parse_json
from coordinator.http.problems import Problem
from coordinator.strict_json import MAX_CONTAINERS, MAX_DEPTH


def refuse(data: bytes) -> str:
    with pytest.raises(Problem) as caught:
        parse_json(data)
    assert caught.value.status == 400
    assert caught.value.code == "MALFORMED_JSON"
    return caught.value.detail


@pytest.mark.parametrize(
    "value", [{}, [], "a", 1, -1.5, None, True, {"a": [{"b": "é\u2028😀"}]}, "\\u", 10**100]
)
def test_json_is_read_as_json_says(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"}", b'{"a":1,}', b"{'a':1}", b"nul", b"\xff", b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b'"\x00"', b"01", b"+1", b"1.", b"{} {}", b'"abc', b"/* */ {}",
    ],
)  # fmt: skip
def test_what_is_no_json(data: bytes) -> None:
    refuse(data)


def test_a_member_given_twice() -> None:
    assert "twice" in refuse(b'{"a":1,"a":1}')
    assert "twice" in refuse(b'[{"b":{"a":1,"\\u0061":2}}]')


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_json_lacks(text: str) -> None:
    refuse(f'{{"a":{text}}}'.encode())


def test_a_number_of_five_thousand_digits() -> None:
    refuse(b"9" * 5_000)


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00\\ud800", "a\\uDBFFb"])
def test_a_lone_surrogate(text: str) -> None:
    assert "surrogate" in refuse(f'"{text}"'.encode())
    assert "surrogate" in refuse(f'{{"{text}":1}}'.encode())


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"


def test_containers() -> None:
    inner = MAX_CONTAINERS - 1
    assert len(parse_json(b"[" + b"{}," * (inner - 1) + b"[]]")) == inner
    refuse(b"[" + b"{}," * inner + b"[]]")
    assert parse_json(b'"' + b"[{" * MAX_CONTAINERS + b'"')


def test_depth() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    refuse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    refuse(b"[" * 100_000)
    refuse(b'{"a":' * 100_000)
    assert parse_json(b'"' + b"[" * 1_000 + b'"') == "[" * 1_000


@pytest.mark.parametrize("unit", [b'\\"', b"[],", b'""', b'{"', b"\\", b"[1,"])
def test_no_body_takes_long(unit: bytes) -> None:
    start = time.process_time()
    refuse(b'["' + unit * (2**20 // len(unit)))
    assert time.process_time() - start < 2


def test_a_refusal_quotes_nothing_of_the_body() -> None:
    assert "secret" not in refuse(b'{"secret": tell nobody}')
