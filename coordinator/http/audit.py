"""The operator's view of the audit log."""

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy import ColumnElement

from coordinator import audit, wire
from coordinator.audit import AUDIT, Found
from coordinator.http.job_models import PageQuery, QueryNumber, Shown
from coordinator.http.listing import build_page
from coordinator.http.problems import invalid
from coordinator.http.routing import OPERATORS, Answer, Call, Route
from ledger.crypto import format_address, parse_address
from ledger.rejection import Rejected

_Word = Annotated[str, Field(min_length=1, max_length=200)]


class AuditQuery(PageQuery):
    """`from` and `to` are dates, inclusive, or date-times; the others are exact."""

    start: Annotated[str, Field(max_length=40)] | None = Field(default=None, alias="from")
    end: Annotated[str, Field(max_length=40)] | None = Field(default=None, alias="to")
    action: _Word | None = None
    account: _Word | None = None
    key_id: Annotated[QueryNumber, Field(ge=1, lt=2**63)] | None = None
    status: Annotated[QueryNumber, Field(ge=100, le=599)] | None = None
    object: _Word | None = None
    request_id: _Word | None = None


class AuditEntry(Shown):
    timestamp: str
    account: str | None
    key_id: int | None
    role: str | None
    action: str
    objects: dict[str, str]
    status: int
    error_code: str | None
    request_id: str
    remote: str | None


class AuditPage(Shown):
    entries: list[AuditEntry]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


async def list_log(call: Call) -> Answer:
    query = call.get_query(AuditQuery)
    conditions = _read_conditions(query)
    # Whatever was done before this request is in the answer.
    await call.coordinator.audit.flush()

    def read(connection: sa.Connection) -> tuple[list[Found], int]:
        before = None if query.cursor is None else int(query.cursor)
        return audit.list_lines(connection, conditions, query.limit + 1, query.offset, before)

    found, total = await call.coordinator.storage.read(read)
    shown = found[: query.limit]
    last = shown[-1].row_id if shown else None
    entries = [_view(each) for each in shown]
    return Answer(build_page("entries", entries, total, query, last, len(found) - len(shown)))


def _read_conditions(query: AuditQuery) -> list[ColumnElement[bool]]:
    columns: tuple[tuple[Any, sa.Column[Any]], ...] = (
        (query.action, AUDIT.c.action),
        (query.key_id, AUDIT.c.key_id),
        (query.status, AUDIT.c.status),
        (query.request_id, AUDIT.c.request_id),
    )
    conditions = [column == value for value, column in columns if value is not None]
    for text, is_end in ((query.start, False), (query.end, True)):
        if text is not None:
            try:
                time_ms = wire.parse_time(text, is_end)
            except ValueError as error:
                raise invalid("/to" if is_end else "/from", str(error)) from None
            column = AUDIT.c.time_ms
            conditions.append(column <= time_ms if is_end else column >= time_ms)
    if query.account is not None:
        try:
            conditions.append(audit.match_account(parse_address(query.account)))
        except (Rejected, ValueError):
            raise invalid("/account", "an account is an address: ait1…") from None
    if query.object is not None:
        conditions.append(audit.match_object(query.object))
    return conditions


def _view(found: Found) -> AuditEntry:
    line = found.line
    return AuditEntry(
        timestamp=wire.format_time(line.time_ms),
        account=None if found.account is None else format_address(found.account),
        key_id=line.key_id,
        role=line.role,
        action=line.action,
        objects=line.objects,
        status=line.status,
        error_code=line.error_code,
        request_id=line.request_id,
        remote=line.remote,
    )


ROUTES = (
    Route(
        "GET", "/v1/audit/log", list_log, "List who did what to which object", "Audit",
        roles=OPERATORS, query=AuditQuery, answers={200: AuditPage},
    ),
)  # fmt: skip
