"""The clients reach the whole contract: each operation of a node, but for those named here."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aitbc import resources
from aitbc.endpoint import Endpoint, Resource, Series
from aitbc.steps import Call
from tests.support.clients import served_node

PARAMETER = re.compile(r"\{[^}]+\}|(?<=/)X(?=/|$)")
ELSEWHERE = {
    # One's own job in other words, and where older programs look for it.
    "POST /v1/jobs/{}/cancel", "GET /v1/jobs/{}/result", "GET /v1/jobs/{}/receipts",
    # The node's own state, for its operator and what watches it.
    "GET /docs", "GET /docs/{}", "GET /redoc", "GET /health", "GET /v1/health", "GET /livez",
    "GET /readyz", "GET /metrics",
    "GET /v1/api-keys", "POST /v1/api-keys", "DELETE /v1/api-keys/{}", "GET /v1/audit/log",
    # The explorer in pages: what the lists of every item ask.
    "GET /v1/explorer/stats", "GET /v1/explorer/search", "GET /v1/explorer/blocks/{}",
    "GET /v1/explorer/transactions/{}", "GET /v1/explorer/receipts/{}",
    "GET /v1/explorer/miners/{}", "GET /v1/explorer/jobs/{}", "GET /v1/explorer/accounts/{}",
    "GET /v1/explorer/offers/{}",
}  # fmt: skip
"""Operations that are in the contract and have no method of their own, and why."""
OTHERS = re.compile(
    # Of the protocol that the deployed network's workers speak, and of OpenAI's clients.
    r"POST /v1/miners/(heartbeat|poll|\{\}/(result|fail))"
    r"|\w+ /v1/(chat/completions|completions|embeddings|audio/transcriptions|images/generations"
    r"|models(/\{\})?)"
    # What the miner's process alone sends, and what is read as a stream.
    r"|\w+ /v1/jobs/\{\}/(stream|files(/\{\})?)"
)


def iterate_calls() -> Iterator[str]:
    kinds = [
        kind for kind in vars(resources).values()
        if isinstance(kind, type) and issubclass(kind, Resource)
    ]  # fmt: skip
    for declared in (each for kind in kinds for each in vars(kind).values()):
        if isinstance(declared, Endpoint | Series):
            call = build_call(inspect.unwrap(declared.build))
            if inspect.isgenerator(call):
                call = next(call)
            if isinstance(call, Call):
                yield f"{call.method} {PARAMETER.sub('{}', call.path)}"


def build_call(build: Any) -> Any:
    """Return what a builder makes of arguments that stand for any."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in inspect.signature(build).parameters.values():
        if parameter.default is not parameter.empty:
            continue
        value: Any = {} if parameter.name in ("report", "receipt", "request_data") else "X"
        if parameter.name == "signer":
            value = None
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            given.append(value)
    return build(*given, **named)


def find_missing(operations: set[str], reached: set[str]) -> set[str]:
    return {each for each in operations - reached - ELSEWHERE if not OTHERS.fullmatch(each)}


async def test_every_operation_has_a_method_or_a_reason(tmp_path: Path) -> None:
    async with served_node(tmp_path / "n") as served:
        paths = (await served.node.read("/openapi.json"))["paths"]
    operations = {
        f"{method.upper()} {PARAMETER.sub('{}', path)}"
        for path, item in paths.items()
        for method in item
        if method in ("get", "post", "put", "delete")
    }
    reached = set(iterate_calls())
    assert find_missing(operations, reached) == set()
    assert find_missing(operations | {"GET /v1/jobs/{}/new"}, reached) == {"GET /v1/jobs/{}/new"}
    assert find_missing(operations, reached - {"GET /v1/jobs/{}"}) == {"GET /v1/jobs/{}"}
    assert ELSEWHERE & reached == set()
    assert reached - operations == set()
