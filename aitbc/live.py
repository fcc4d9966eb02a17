"""Decides how live updates are followed: subscribe, read, and go on where a connection broke."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aitbc.endpoint import P, Series
from aitbc.errors import AITBCError, InvalidAnswerError, SocketClosedError, build_api_error
from aitbc.exchange import Exchange, RetryPolicy
from aitbc.market_models import Update
from aitbc.steps import Call, Emit, Flow, OpenSocket, Pause, Read, Steps, Write

PATH: Final = "/ws"
_STATUS_OF_CLOSE: Final[Mapping[int, int]] = {
    4400: 400,
    4401: 401,
    4403: 401,
    4421: 421,
    4429: 429,
    4430: 429,
}
"""What a refusal means that comes as a close code; after every other one the socket is reopened."""
_ANSWERS: Final = 2
"""A socket that opens with a key is subscribed to everything, and answers that as well."""
_OWN_MESSAGES: Final = frozenset({"authenticated", "subscribed", "unsubscribed", "pong"})


def follow_updates(
    *,
    types: Sequence[str] | None = None,
    job_ids: Sequence[str] | None = None,
    since: int | None = None,
) -> Flow[None]:
    """Give what happens, as it happens: one's own jobs and receipts, offers, blocks.

    `types` are `job_update`, `receipt_created`, `marketplace_update` and `block_created`, `job_ids`
    one's own jobs; without them, everything. With `since`, the `seq` of an update, all that came
    after it is given first; 0 is all that the node has kept. A connection that breaks is taken up
    again where it was; an update of the type `gap` says that something may have been lost. Raises
    what the node refuses, and `ConnectionFailedError` when it stays away.
    """
    attempts = Exchange[Any](Call("GET", PATH, str, is_repeatable=True), RetryPolicy())
    position = since
    while True:
        try:
            channel = yield OpenSocket(PATH)
            yield Write(channel, _subscribe(types, job_ids, position))
            answers = 0
            while True:
                update = _read_update((yield Read(channel)))
                attempts.on_progress()
                answers += update.type == "subscribed"
                # Everything is told until the subscription above is answered: the second answer.
                if answers < _ANSWERS:
                    continue
                position = update.seq
                if update.type not in _OWN_MESSAGES:
                    yield Emit(update)
        except SocketClosedError as error:
            delay = attempts.on_error(_explain_close(error), random.random())
        except AITBCError as error:
            delay = attempts.on_error(error, random.random())
        yield Pause(delay)


def live_updates(build: Callable[P, Steps[None]]) -> Series[P, Update, Update]:
    """Declare a method that gives updates."""
    return Series(build)


def _subscribe(
    types: Sequence[str] | None, job_ids: Sequence[str] | None, since: int | None
) -> str:
    members = {
        "type": "subscribe",
        "types": None if types is None else list(types),
        "job_ids": None if job_ids is None else list(job_ids),
        "since": since,
    }
    return json.dumps({name: value for name, value in members.items() if value is not None})


def _read_update(text: str) -> Update:
    """Return what a message says. Raises what the node refuses."""
    try:
        message = json.loads(text)
        update = Update.model_validate(message)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswerError(f"not the message that was agreed: {error}") from None
    if update.type == "error":
        members = {"error_code": update.data.get("code"), "detail": update.data.get("detail")}
        raise build_api_error(400, members, None)
    return update


def _explain_close(error: SocketClosedError) -> AITBCError:
    status = _STATUS_OF_CLOSE.get(error.close_code or 0)
    if status is None:
        return error
    return build_api_error(status, {"detail": str(error)}, None)
