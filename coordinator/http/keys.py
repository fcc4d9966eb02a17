"""The operator's routes for API keys. A key is shown once, in the answer that made it."""

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy import Connection

from coordinator import accounts, wire
from coordinator.accounts import NewKey
from coordinator.http.job_models import PageQuery, Shown, Strict
from coordinator.http.listing import build_page
from coordinator.http.problems import invalid, not_found
from coordinator.http.routing import OPERATORS, Answer, Call, Route
from coordinator.principals import Role
from coordinator.sql import get_table
from coordinator.tables import AccountRow, KeyRow
from ledger.crypto import format_address, parse_address
from ledger.rejection import Rejected


class KeyRequest(Strict):
    """A key for a new custodial account, or for the account of `address`."""

    role: Literal["client", "miner", "operator"]
    address: Annotated[str, Field(max_length=100)] | None = None
    label: Annotated[str, Field(max_length=200)] = ""


class KeyShown(Shown):
    key_id: int
    role: str
    address: str
    custody: Literal["custodial", "self"]
    label: str
    created_at: str


class KeyList(Shown):
    keys: list[KeyShown]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class KeyMade(KeyShown):
    key: str


async def create(call: Call) -> Answer:
    body = call.get_body(KeyRequest)
    coordinator = call.coordinator
    address = None
    if body.address is not None:
        try:
            address = parse_address(body.address)
        except (Rejected, ValueError):
            raise invalid("/address", "an address is bech32m with the prefix ait1") from None
    now = coordinator.get_now()

    def write(connection: Connection) -> NewKey:
        if address is None:
            account = accounts.create_account(connection, coordinator.sealing_key, now)
        else:
            account = accounts.find_or_add_account(connection, address, now)
        role = Role(body.role)
        return accounts.create_key(connection, coordinator.address, account, role, body.label, now)

    made = await coordinator.storage.write(write)
    shown = KeyMade(
        key_id=made.key_id,
        role=made.role.value,
        address=format_address(made.address),
        custody="custodial" if made.is_custodial else "self",
        label=made.label,
        created_at=wire.format_time(made.created_ms),
        key=made.key,
    )
    return Answer(shown, 201)


async def list_keys(call: Call) -> Answer:
    query = call.get_query(PageQuery)
    keys, owners = get_table(KeyRow), get_table(AccountRow)
    live = keys.c.revoked_ms.is_(None)
    statement = keys.join(owners, owners.c.account_id == keys.c.account_id).select().where(live)
    if query.cursor is not None:
        statement = statement.where(keys.c.key_id > int(query.cursor))
    statement = statement.order_by(keys.c.key_id).limit(query.limit + 1).offset(query.offset)

    def read(connection: Connection) -> tuple[list[dict[Any, Any]], int]:
        found = [
            {column: row._mapping[column] for column in (*keys.c, *owners.c)}
            for row in connection.execute(statement)
        ]
        count = sa.select(sa.func.count()).select_from(keys).where(live)
        return found, connection.execute(count).scalar_one()

    found, total = await call.coordinator.storage.read(read)
    rows = found[: query.limit]
    shown = [
        KeyShown(
            key_id=row[keys.c.key_id],
            role=row[keys.c.role],
            address=format_address(row[owners.c.address]),
            custody="self" if row[owners.c.sealed_seed] is None else "custodial",
            label=row[keys.c.label],
            created_at=wire.format_time(row[keys.c.created_ms]),
        )
        for row in rows
    ]
    last = shown[-1].key_id if shown else None
    return Answer(build_page("keys", shown, total, query, last, len(found) - len(rows)))


async def revoke(call: Call) -> Answer:
    text = call.path["key_id"]
    key_id = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if not await call.coordinator.keys.revoke(key_id, call.coordinator.get_now()):
        raise not_found("key")
    return Answer(None, 204)


ROUTES = (
    Route(
        "POST", "/v1/api-keys", create, "Make a key; it is shown once", "Keys",
        roles=OPERATORS, body=KeyRequest, answers={201: KeyMade}, shows_secret=True,
        works_behind=True,
    ),
    Route(
        "GET", "/v1/api-keys", list_keys, "List the keys", "Keys",
        roles=OPERATORS, query=PageQuery, answers={200: KeyList},
    ),
    Route(
        "DELETE", "/v1/api-keys/{key_id}", revoke, "Revoke a key", "Keys",
        roles=OPERATORS, answers={204: None}, works_behind=True,
    ),
)  # fmt: skip
