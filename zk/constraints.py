"""Decides how a circuit becomes a rank-1 constraint system, and how values fill it.

The circuit is written once, against `Builder`. `Recorder` runs it on linear combinations and
keeps the constraints; `Evaluator` runs the same code on integers and keeps the witness. Both
number wires in the order in which the circuit asks for them, so they cannot drift apart.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from zk.field import R

ONE: Final = 0
"""Wire 0 always carries the value 1."""


class LinearCombination:
    """A sum of wires times constants, modulo R. Immutable."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[int, int]) -> None:
        self.terms = terms

    def __add__(self, other: LinearCombination | int) -> LinearCombination:
        terms = dict(self.terms)
        for wire, factor in _terms(other).items():
            terms[wire] = (terms.get(wire, 0) + factor) % R
        return LinearCombination(terms)

    __radd__ = __add__

    def __neg__(self) -> LinearCombination:
        return self * -1

    def __sub__(self, other: LinearCombination | int) -> LinearCombination:
        return self + (-other)

    def __rsub__(self, other: int) -> LinearCombination:
        return -self + other

    def __mul__(self, constant: int) -> LinearCombination:
        return LinearCombination(
            {wire: factor * constant % R for wire, factor in self.terms.items()}
        )

    __rmul__ = __mul__


def _terms(value: LinearCombination | int) -> Mapping[int, int]:
    return value.terms if isinstance(value, LinearCombination) else {ONE: value % R}


Wire = TypeVar("Wire", int, LinearCombination)


class Builder(Protocol[Wire]):
    """What a circuit may ask for. A `Wire` adds, subtracts and scales by integers."""

    def combine(self, factors: Sequence[int], wires: Sequence[Wire]) -> Wire:
        """The sum of factor * wire; costs no constraint."""
        ...

    def multiply(self, left: Wire, right: Wire, rule: str) -> Wire:
        """A new wire constrained to left * right."""
        ...

    def assert_product(self, left: Wire, right: Wire, product: Wire, rule: str) -> None:
        """Constrain left * right = product."""
        ...

    def assert_bits(self, value: Wire, length: int, rule: str) -> None:
        """Constrain value to [0, 2**length), by `length` new boolean wires and their sum."""
        ...


@dataclass(frozen=True, slots=True)
class Constraint:
    """left * right = product, each a mapping of wire to factor; `rule` is what it serves."""

    left: Mapping[int, int]
    right: Mapping[int, int]
    product: Mapping[int, int]
    rule: str


class Recorder:
    """Runs a circuit on linear combinations and keeps its constraints."""

    def __init__(self) -> None:
        self.wire_count = 1
        self.constraints: list[Constraint] = []

    def new_wire(self) -> LinearCombination:
        self.wire_count += 1
        return LinearCombination({self.wire_count - 1: 1})

    def combine(
        self, factors: Sequence[int], wires: Sequence[LinearCombination]
    ) -> LinearCombination:
        terms: dict[int, int] = {}
        for factor, combination in zip(factors, wires, strict=True):
            for wire, inner in combination.terms.items():
                terms[wire] = terms.get(wire, 0) + factor * inner
        return LinearCombination({wire: total % R for wire, total in terms.items()})

    def multiply(
        self, left: LinearCombination, right: LinearCombination, rule: str
    ) -> LinearCombination:
        product = self.new_wire()
        self.assert_product(left, right, product, rule)
        return product

    def assert_product(
        self,
        left: LinearCombination,
        right: LinearCombination,
        product: LinearCombination,
        rule: str,
    ) -> None:
        self.constraints.append(Constraint(_clean(left), _clean(right), _clean(product), rule))

    def assert_bits(self, value: LinearCombination, length: int, rule: str) -> None:
        bits = [self.new_wire() for _ in range(length)]
        for bit in bits:
            self.assert_product(bit, bit - 1, LinearCombination({}), rule)
        total = self.combine([1 << index for index in range(length)], bits)
        self.assert_product(total, LinearCombination({ONE: 1}), value, rule)


def _clean(combination: LinearCombination) -> Mapping[int, int]:
    return {wire: factor for wire, factor in sorted(combination.terms.items()) if factor}


class Evaluator:
    """Runs a circuit on integers: the witness, and both factors of every constraint.

    A constraint that does not hold is noted, not raised: the prover asks for `broken_rules`, and
    tests go on to make proof bytes from a bad witness, which no verifier may accept.
    """

    def __init__(self) -> None:
        self.witness: list[int] = [1]
        self.left: list[int] = []
        self.right: list[int] = []
        self.broken_rules: list[str] = []

    def new_wire(self, value: int) -> int:
        value %= R
        self.witness.append(value)
        return value

    def combine(self, factors: Sequence[int], wires: Sequence[int]) -> int:
        total: int = sum(map(operator.mul, factors, wires))
        return total % R

    def multiply(self, left: int, right: int, rule: str) -> int:
        self.left.append(left % R)
        self.right.append(right % R)
        return self.new_wire(left * right)

    def assert_product(self, left: int, right: int, product: int, rule: str) -> None:
        self.left.append(left % R)
        self.right.append(right % R)
        if (left * right - product) % R and rule not in self.broken_rules:
            self.broken_rules.append(rule)

    def assert_bits(self, value: int, length: int, rule: str) -> None:
        value %= R
        bits = [value >> index & 1 for index in range(length)]
        self.witness.extend(bits)
        self.left.extend(bits)
        self.right.extend((bit - 1) % R for bit in bits)
        self.assert_product(value & (1 << length) - 1, 1, value, rule)
