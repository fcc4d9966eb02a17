"""Taking signed transactions, and telling where one stands.

The way in is the busiest of the API, so no model is made for a single item: one typed decode for
the whole body, and plain values for the answer.
"""

from typing import Any, Final

import msgspec
from aiohttp import web

from coordinator import wire
from coordinator.http.body import read_body
from coordinator.http.problems import Problem, from_rejection, invalid, not_found
from coordinator.http.routing import PUBLIC, Answer, Call, Route
from ledger.rejection import Rejected, Rejection
from node.admission import MAX_SUBMITTED
from node.routes import models, records
from node.routes.answers import answer_final, require_hash
from node.routes.models import ProofQuery
from node.routes.reader import ChainReader

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_TAG: Final = "Chain"


class _Item(msgspec.Struct):
    raw: str | None = None
    transaction: str | None = None


_bodies = msgspec.json.Decoder(str | _Item | list[str | _Item])
_answers = msgspec.json.Encoder()


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the routes of transactions."""

    async def submit(call: Call) -> web.Response:
        deadline = call.coordinator.settings.body_deadline
        body = decode_body(await read_body(call.request, MAX_BODY_BYTES, deadline))
        is_one = not isinstance(body, list)
        texts = read_items([body] if not isinstance(body, list) else body)
        verdicts = await submit_hex(reader, texts)
        if is_one:
            verdict = verdicts[0]
            if isinstance(verdict, Rejected):
                raise verdict
            return _to_response(write_verdict(verdict), 202)
        return _to_response([write_verdict(verdict) for verdict in verdicts], 200)

    async def show(call: Call) -> Answer | web.StreamResponse:
        query = call.get_query(ProofQuery)
        name = require_hash(call.path["hash"], "transaction", wire.TRANSACTION_PREFIX)
        return await show_transaction(reader, call, name, query.is_wanted)

    return (
        Route(
            "POST", "/v1/transactions", submit, "Submit signed transactions", _TAG,
            roles=PUBLIC, body=models.Transactions, reads_own_body=True,
            answers={202: models.Verdict, 200: models.Verdicts},
        ),
        Route(
            "GET", "/v1/transactions/{hash}", show, "Where a transaction stands", _TAG,
            roles=PUBLIC, query=ProofQuery, answers={200: models.TransactionDetail},
        ),
    )  # fmt: skip


def decode_body(data: bytes) -> Any:
    """Return the body's string, item or list of them. Raises `Problem` (400, 422)."""
    try:
        return _bodies.decode(data)
    except msgspec.ValidationError as error:
        raise Problem(422, f"not transactions: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"malformed JSON: {type(error).__name__}", "MALFORMED_JSON") from None


def read_items(items: list[str | _Item]) -> list[str]:
    """Return the hex of each item. Raises `Problem(422)`."""
    if len(items) > MAX_SUBMITTED:
        raise invalid("", f"at most {MAX_SUBMITTED} transactions in one call")
    texts = []
    for index, item in enumerate(items):
        text = item if isinstance(item, str) else _get_hex(item)
        if text is None:
            raise invalid(f"/{index}/raw", "the transaction's hex is missing")
        texts.append(text)
    return texts


def _get_hex(item: _Item) -> str | None:
    return item.transaction if item.raw is None else item.raw


async def submit_hex(reader: ChainReader, texts: list[str]) -> list[bytes | Rejected]:
    """Return each transaction's id once it waits durably, or why it was refused."""
    verdicts: list[bytes | Rejected | None] = [None] * len(texts)
    raws: list[bytes] = []
    places: list[int] = []
    for index, text in enumerate(texts):
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        # `fromhex` also skips white space, which no hex has.
        if not raw or 2 * len(raw) != len(text):
            verdicts[index] = Rejected(Rejection.MALFORMED, "a transaction is sent as hex")
            continue
        raws.append(raw)
        places.append(index)
    if raws:
        for index, verdict in zip(places, await reader.port.submit(raws), strict=True):
            verdicts[index] = verdict
    return [verdict for verdict in verdicts if verdict is not None]


def write_verdict(verdict: bytes | Rejected) -> dict[str, Any]:
    """Return a verdict's members; the code is the one that a single refusal answers with."""
    if isinstance(verdict, bytes):
        return {"transaction_id": wire.TRANSACTION_PREFIX + verdict.hex(), "status": "accepted"}
    return {
        "transaction_id": None,
        "status": "rejected",
        "error_code": from_rejection(verdict).code,
        "rejection": int(verdict.reason),
        "detail": verdict.detail,
    }


async def show_transaction(
    reader: ChainReader, call: Call, transaction_id: bytes, with_proof: bool
) -> Answer | web.StreamResponse:
    """Return a waiting or final transaction. Raises `Problem(404)`."""
    # The pool first: what leaves it for a block is final before it is gone.
    waiting = reader.chain.mempool.get(transaction_id)
    if waiting is not None:
        members = records.describe_transaction(waiting.id, waiting.transaction)
        return Answer(models.TransactionDetail(**members, status="pending"))
    located = await reader.history.find_transaction(transaction_id)
    if located is None:
        raise not_found("transaction")
    block = await reader.get_block_short(located.height)
    assert block is not None
    members = records.describe_located(located, block.hash, block.header.time)
    answer = models.TransactionDetail(**members)
    if with_proof:
        answer.proof = await reader.prove_transaction(located.height, located.index)
    return answer_final(answer, transaction_id.hex() + ("-proof" if with_proof else ""))


def _to_response(payload: Any, status: int) -> web.Response:
    return web.Response(
        status=status, body=_answers.encode(payload), content_type="application/json"
    )
