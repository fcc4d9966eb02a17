"""Decides which tokens an answer was made of, so that the job can be checked later.

An endpoint names them piece by piece. llama.cpp's names the last token of a piece alone, and some
pieces are several tokens: a character of several bytes, or text held back because it might have
been the beginning of a stop sequence. Those are asked for by their text, and where that does not
give the same number of tokens with the same last one, the answer's tokens are not known: better
none than a guess.
"""

from typing import Any, Final, NamedTuple, Protocol

import httpx2

from miner.engines.interface import EngineFailedError

MAX_TOKEN: Final = 2**24
"""Above every vocabulary's size."""


class Address(Protocol):
    """What of an endpoint is needed to ask it."""

    @property
    def url(self) -> str: ...
    @property
    def key(self) -> str: ...


class _Piece(NamedTuple):
    text: str
    length: int
    """In tokens."""
    known: tuple[int, ...]
    """All of them, or the last."""


class TokenTrail:
    """The tokens of one answer, as far as the endpoint has named them."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._is_named = True
        self._made = 0

    def add(self, choice: dict[str, Any], text: str, made: int | None) -> None:
        """Take in a choice of one chunk; `made`: tokens made by then, where the chunk says so.

        Raises `EngineFailedError` for tokens that are none.
        """
        known = _read_tokens(choice)
        if not known:
            self._is_named = self._is_named and not text
            return
        length = len(known) if made is None else made - self._made
        self._made += length
        self._pieces.append(_Piece(text, max(length, len(known)), known))

    async def resolve(self, client: httpx2.AsyncClient, address: Address) -> list[int] | None:
        """Return all tokens, or None where they are not known.

        Raises `httpx2.HTTPError` and `EngineFailedError` where the endpoint is gone.
        """
        if not self._is_named:
            return None
        tokens: list[int] = []
        for piece in self._pieces:
            known = list(piece.known)
            if piece.length > len(known):
                found = await tokenize(client, address, piece.text, has_special=False)
                if len(found) != piece.length or found[-len(known) :] != known:
                    return None
                known = found
            tokens += known
        return tokens


def build_headers(address: Address) -> dict[str, str]:
    """Return what a request carries of the endpoint's key."""
    return {"Authorization": f"Bearer {address.key}"} if address.key else {}


async def tokenize(
    client: httpx2.AsyncClient, address: Address, text: str, *, has_special: bool
) -> list[int]:
    """Return a text's tokens; `has_special`: it is a whole prompt, with its control tokens.

    Raises `httpx2.HTTPError` and `EngineFailedError`.
    """
    body = {"content": text, "add_special": has_special, "parse_special": has_special}
    answer = await ask(client, address, "/tokenize", body)
    return list(_check_tokens(answer.get("tokens")))


async def ask(
    client: httpx2.AsyncClient, address: Address, path: str, body: dict[str, Any]
) -> dict[str, Any]:
    """Return llama.cpp's own answer, which OpenAI's contract has no path for.

    Raises `httpx2.HTTPError` and `EngineFailedError`.
    """
    response = await client.post(address.url + path, json=body, headers=build_headers(address))
    if response.status_code != 200:
        raise EngineFailedError(f"the engine answers {path} with status {response.status_code}")
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineFailedError(f"the engine's answer to {path} is no object")
    return answer


def _read_tokens(choice: dict[str, Any]) -> tuple[int, ...]:
    if choice.get("token_ids") is not None:
        return _check_tokens(choice["token_ids"])
    named = choice.get("logprobs")
    content = named.get("content") if isinstance(named, dict) else None
    entries = content if isinstance(content, list) else []
    # OpenAI's own entries have no id; then the answer's tokens are not known.
    return _check_tokens([
        entry["id"] for entry in entries if isinstance(entry, dict) and "id" in entry
    ])  # fmt: skip


def _check_tokens(tokens: Any) -> tuple[int, ...]:
    if not isinstance(tokens, list) or not all(
        type(token) is int and 0 <= token < MAX_TOKEN for token in tokens
    ):
        raise EngineFailedError("the engine's tokens are none")
    return tuple(tokens)
