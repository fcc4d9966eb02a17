"""Decides how pairing arithmetic is done by default: arkworks through `py-arkworks-bls12381`."""

import functools
from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from zk.field import FIELD_BYTES
from zk.points import G1_BYTES, G2_BYTES, check_encoding

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_NOT_ABOUT_THE_INPUT: Final = (
    AssertionError,
    GeneratorExit,
    KeyboardInterrupt,
    MemoryError,
    SystemExit,
)


def guard_native(call: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Turn whatever native code throws into ValueError.

    A panic in Rust arrives as a BaseException that no `except Exception` stops. What says nothing
    about the input (no memory, an interrupt, a bug of ours) goes through: a verdict must not
    depend on it.
    """

    @functools.wraps(call)
    def guarded(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            return call(*arguments, **named)
        except _NOT_ABOUT_THE_INPUT:
            raise
        except ValueError:
            raise
        except BaseException as error:
            raise ValueError(f"refused by the curve library: {error}") from error

    return guarded


class ArkworksBackend:
    """Stateless; releases the interpreter lock while it computes."""

    @guard_native
    def read_g1(self, data: bytes) -> G1Point:
        check_encoding(data, G1_BYTES)
        return G1Point.from_compressed_bytes(data)

    @guard_native
    def read_g2(self, data: bytes) -> G2Point:
        check_encoding(data, G2_BYTES)
        return G2Point.from_compressed_bytes(data)

    @guard_native
    def combine(self, points: Sequence[G1Point], scalars: Sequence[int]) -> G1Point:
        assert len(points) == len(scalars) > 0
        if len(points) == 1:
            return points[0] * to_scalar(scalars[0])
        return G1Point.multiexp_unchecked(list(points), [to_scalar(value) for value in scalars])

    @guard_native
    def pair(self, pairs: Sequence[tuple[G1Point, G2Point]]) -> GT:
        return GT.multi_pairing([left for left, _ in pairs], [right for _, right in pairs])


def to_scalar(value: int) -> Scalar:
    """Some ten times faster than the constructor that takes an integer."""
    return Scalar.from_le_bytes(value.to_bytes(FIELD_BYTES, "little"))


ARKWORKS: Final = ArkworksBackend()
