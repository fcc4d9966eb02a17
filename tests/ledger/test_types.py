import msgspec
import pytest

from ledger import types


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (types.Amount, [0, 1, 2**63 - 1], [-1, 2**63, 2**64, True, None, b"1"]),
        (types.Counter, [0, 2**63 - 1], [-1, 2**63]),
        (types.Units, [0, 2**40 - 1], [-1, 2**40]),
        (types.Time, [0, 2**48 - 1], [-1, 2**48]),
        (types.Hash, [bytes(32)], [b"", bytes(31), bytes(33)]),
        (types.PublicKey, [bytes(32)], [bytes(31), bytes(33)]),
        (types.Signature, [bytes(64)], [bytes(63), bytes(65)]),
        (types.Address, [bytes(20)], [bytes(19), bytes(21)]),
        (types.Proof, [bytes(192)], [bytes(191), bytes(193)]),
    ],
)
def test_bounds(kind: object, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert msgspec.convert(value, type=kind) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, type=kind)


@pytest.mark.parametrize("name", ["a", "0", "alpha-1", "a.b_c", "m" * 64, "miner_1"])
def test_names(name: str) -> None:
    assert msgspec.convert(name, type=types.Name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "m" * 65,
        "A",
        "-a",
        ".a",
        "_a",
        "a b",
        " a",
        "a\n",
        "a\na",
        "\na",
        "a\x00",
        "a\r",
        "a\u2028",
        "\u0430",  # Cyrillic a
        "a\u0301",  # a combining accent
        "\u00e9",
        "\uff41",  # fullwidth a
        "a\u0661",  # Arabic digit one
        "a\u200b",  # zero width
        "\u0131",  # dotless i
        "K\u212a",  # the Kelvin sign
    ],
)
def test_no_two_names_look_alike(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, type=types.Name)


def test_a_statistic_stays_inside_its_type() -> None:
    assert types.add_capped(1, 2) == 3
    assert types.add_capped(types.MAX_AMOUNT, 0) == types.MAX_AMOUNT
    assert types.add_capped(types.MAX_AMOUNT - 1, 2) == types.MAX_AMOUNT
