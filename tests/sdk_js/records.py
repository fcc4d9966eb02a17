"""One sample of each record that a receipt's bundle can hold, in its canonical encoding.

Samples are made of the records' own types: a new kind of transaction or event is in them by itself.
"""

from typing import Any, get_args

from msgspec import inspect

from consensus.light_client import Succession
from consensus.receipt_bundle import SettlementPart, StatePart
from ledger import codec
from ledger.outcomes import Event, Outcome
from ledger.transactions import Payload, Transaction
from ledger.types import MAX_AMOUNT


def make_records() -> dict[str, list[str]]:
    """Return encodings in hex, by the name of the record in JavaScript."""
    events = tuple(build(kind, number) for number in (0, 1) for kind in get_args(Event))
    outcomes = [Outcome(bytes(32), 0, 7, ()), Outcome(bytes(32), 1, MAX_AMOUNT, events)]
    transactions = [
        build(Transaction, number, payload=build(kind, number))
        for number in (0, 1)
        for kind in get_args(Payload)
    ]
    whole = {
        "Outcome": outcomes,
        "Transaction": transactions,
        "SettlementPart": [build(SettlementPart, number) for number in (0, 1)],
        "StatePart": [build(StatePart, number) for number in (0, 1)],
        "Succession": [build(Succession, number) for number in (0, 1)],
    }
    return {name: [codec.encode(each).hex() for each in found] for name, found in whole.items()}


def build(kind: Any, number: int, **given: Any) -> Any:
    """Return a sample: 0 has the least and the absent of everything, 1 the most and the present."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    values = {
        field.name: given.get(field.name, _sample(field.type, number)) for field in info.fields
    }
    return kind(**values)


def _sample(info: inspect.Type, number: int) -> Any:
    match info:
        case inspect.BoolType():
            return bool(number)
        case inspect.IntType(ge=ge, le=le, lt=lt):
            most = le if le is not None else lt - 1 if lt is not None else 2**40
            return most if number else ge or 0
        case inspect.BytesType(min_length=least, max_length=most):
            return b"\xab" * ((most if number and most is not None else least) or 0)
        case inspect.StrType(max_length=most):
            return "z" * (most or 1) if number else "0"
        case inspect.EnumType(cls=cls):
            return list(cls)[-number]
        case inspect.StructType(cls=cls):
            return build(cls, number)
        case inspect.VarTupleType(item_type=item, min_length=least):
            return tuple(_sample(item, number) for _ in range(3 if number else least or 0))
        case inspect.UnionType(types=types):
            is_absent = number == 0 and any(isinstance(t, inspect.NoneType) for t in types)
            return None if is_absent else _sample(types[0], number)
        case _:
            raise AssertionError(info)
