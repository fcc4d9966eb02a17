"""Statements on rows that are plain values.

No session of SQLModel's holds a row: what is read is a value, and what changes is written by a
statement of its own.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import Connection, Select, Table
from sqlmodel import SQLModel

_T = TypeVar("_T", bound=SQLModel)
_V = TypeVar("_V")
_IN_BATCH: Final = 500


class PlainRow:
    """A row as a plain value: no session ever holds one, so none is told of each change.

    Telling it, as SQLModel's own constructor and setter do, costs a request more than its writes.
    """

    def __init__(self, **values: Any) -> None:
        model = cast(type[SQLModel], type(self))
        members = _get_defaults(model) | values
        if members.keys() != set(get_names(model)):
            raise TypeError(f"{model.__name__} has not these columns: {sorted(values)}")
        self.__dict__.update(members)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value


def get_table(model: type[SQLModel]) -> Table:
    """Return a model's table, for Core statements."""
    return cast(Table, vars(model)["__table__"])


@cache
def get_names(model: type[SQLModel]) -> tuple[str, ...]:
    """Return the names of a model's columns, in their order."""
    return tuple(get_table(model).c.keys())


@cache
def _get_defaults(model: type[SQLModel]) -> dict[str, Any]:
    fields = model.model_fields.items()
    return {name: field.default for name, field in fields if not field.is_required()}


def insert(connection: Connection, row: SQLModel) -> int:
    """Insert a row and return its integer key."""
    columns = ((name, getattr(row, name)) for name in get_names(type(row)))
    values = {name: value for name, value in columns if value is not None}
    # As parameters: a value inside a statement costs it an object of its own.
    key = connection.execute(get_table(type(row)).insert(), values).inserted_primary_key
    assert key is not None
    return key[0] if isinstance(key[0], int) else 0


def load(connection: Connection, model: type[_T], statement: Select[Any]) -> list[_T]:
    """Return the rows of a `select` of all columns of a model's table."""
    return [_make(model, values) for values in connection.execute(statement)]


def _make(model: type[_T], values: Iterable[Any]) -> _T:
    row: _T = model.__new__(model)
    row.__dict__.update(zip(get_names(model), values, strict=True))
    return row


@cache
def _build_find(model: type[SQLModel], names: tuple[str, ...]) -> Select[Any]:
    """Return the statement that looks for values of these columns."""
    table = get_table(model)
    return table.select().where(*(table.c[name] == sa.bindparam(name) for name in names)).limit(1)


def find(connection: Connection, model: type[_T], **equal: Any) -> _T | None:
    """Return the first row whose columns equal the given values."""
    values = connection.execute(_build_find(model, tuple(equal)), equal).first()
    return None if values is None else _make(model, values)


def split(values: Iterable[_V]) -> Iterator[list[_V]]:
    """Yield values in lists that are short enough for an `IN`."""
    rest = list(values)
    for start in range(0, len(rest), _IN_BATCH):
        yield rest[start : start + _IN_BATCH]


def load_in(
    connection: Connection, model: type[_T], column: str, values: Iterable[Any]
) -> list[_T]:
    """Return the rows whose column holds one of the values, however many these are."""
    statement = _build_load_in(model, column)
    return [
        _make(model, found)
        for some in split(values)
        for found in connection.execute(statement, {"values": some})
    ]


@cache
def _build_load_in(model: type[SQLModel], column: str) -> Select[Any]:
    """Return the statement that looks for several values of a column."""
    table = get_table(model)
    return table.select().where(table.c[column].in_(sa.bindparam("values", expanding=True)))


@cache
def _build_update(table: Table) -> sa.Update:
    """Return the statement that sets the columns it is given in the row of a key."""
    key = (column == sa.bindparam(f"primary_{column.name}") for column in table.primary_key)
    return table.update().where(*key)


def update(connection: Connection, row: SQLModel, **values: Any) -> None:
    """Set columns of a row in the database and in the object."""
    table = get_table(type(row))
    key = {f"primary_{column.name}": getattr(row, column.name) for column in table.primary_key}
    connection.execute(_build_update(table), {**values, **key})
    for name, value in values.items():
        setattr(row, name, value)
