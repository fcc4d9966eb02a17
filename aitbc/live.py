"""Decides how live updates are followed: subscribe, read, and go on where a connection broke."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from aitbc.endpoint import P, Series
from aitbc.errors import AITBCError, InvalidAnswerError
from aitbc.exchange import Exchange, RetryPolicy
from aitbc.market_models import Update
from aitbc.steps import Call, Emit, Flow, OpenSocket, Pause, Read, Steps, Write

PATH: Final = "/ws"
SILENCE_SECONDS: Final = 60.0
"""The node beats at least this often; a socket that is silent for longer is dead."""


def follow_updates(
    *,
    types: Sequence[str] | None = None,
    job_ids: Sequence[str] | None = None,
    since: int | None = None,
) -> Flow[None]:
    """Give what happens, as it happens: one's own jobs and receipts, offers, blocks.

    `types` are `job_update`, `receipt_created`, `marketplace_update` and `block_created`, `job_ids`
    one's own jobs; without them, everything. With `since`, the `seq` of an update, everything
    after it comes first. A connection that breaks is taken up again where it was, without end; a
    refusal of the node is raised.
    """
    attempts = Exchange[Any](Call("GET", PATH, str, is_repeatable=True), RetryPolicy())
    position = since
    while True:
        try:
            channel = yield OpenSocket(PATH)
            yield Write(channel, _subscribe(types, job_ids, position))
            while True:
                text = yield Read(channel, SILENCE_SECONDS)
                update = _read_update(text)
                attempts.on_progress()
                if update is None:
                    continue
                if update.seq is not None:
                    position = update.seq
                yield Emit(update)
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


def _read_update(text: str) -> Update | None:
    """Return the update in a message, None for one that only keeps the connection alive."""
    try:
        message = json.loads(text)
        if not isinstance(message, dict):
            raise TypeError("an object was expected")
        return Update.model_validate(message) if "data" in message else None
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidAnswerError(f"not the message that was agreed: {error}") from None
