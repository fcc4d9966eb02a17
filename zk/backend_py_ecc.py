"""Decides how pairing arithmetic is done by the independent reference: `py_ecc`, pure Python.

About two hundred times slower than arkworks and sharing no code with it: for differential tests,
audits and as a fallback. Importing `py_ecc` takes half a second, so nothing imports this file but
who asks for it.
"""

import sys
from collections.abc import Sequence
from typing import Final, TypeAlias

from py_ecc.bls.g2_primitives import subgroup_check
from py_ecc.bls.point_compression import decompress_G1, decompress_G2
from py_ecc.bls.typing import G1Compressed, G2Compressed
from py_ecc.fields import optimized_bls12_381_FQ as FQ
from py_ecc.fields import optimized_bls12_381_FQ2 as FQ2
from py_ecc.fields import optimized_bls12_381_FQ12 as FQ12
from py_ecc.optimized_bls12_381 import Z1, add, final_exponentiate, multiply, pairing
from py_ecc.typing import Optimized_Point3D

from zk.points import COORDINATE_BYTES, G1_BYTES, G2_BYTES, check_encoding

RECURSION_LIMIT: Final = 1_000
# `py_ecc` raises it to 100,000 for the whole process. A deeply nested JSON text would then overflow
# the C stack instead of raising `RecursionError`; nothing used here recurses deeply.
sys.setrecursionlimit(RECURSION_LIMIT)

PointG1: TypeAlias = Optimized_Point3D[FQ]
PointG2: TypeAlias = Optimized_Point3D[FQ2]


class PyEccBackend:
    """Stateless."""

    def read_g1(self, data: bytes) -> PointG1:
        check_encoding(data, G1_BYTES)
        try:
            point = decompress_G1(G1Compressed(int.from_bytes(data, "big")))
        except ArithmeticError as error:
            raise ValueError("the point has no root") from error
        if not subgroup_check(point):
            raise ValueError("the point is outside the subgroup")
        return point

    def read_g2(self, data: bytes) -> PointG2:
        check_encoding(data, G2_BYTES)
        imaginary = int.from_bytes(data[:COORDINATE_BYTES], "big")
        real = int.from_bytes(data[COORDINATE_BYTES:], "big")
        try:
            point = decompress_G2(G2Compressed((imaginary, real)))
        except ArithmeticError as error:
            raise ValueError("the point has no root") from error
        if not subgroup_check(point):
            raise ValueError("the point is outside the subgroup")
        return point

    def combine(self, points: Sequence[PointG1], scalars: Sequence[int]) -> PointG1:
        assert len(points) == len(scalars) > 0
        total: PointG1 = Z1
        for point, scalar in zip(points, scalars, strict=True):
            total = add(total, multiply(point, scalar))
        return total

    def pair(self, pairs: Sequence[tuple[PointG1, PointG2]]) -> FQ12:
        product = FQ12.one()
        for left, right in pairs:
            product = product * pairing(right, left, final_exponentiate=False)
        return final_exponentiate(product)


PY_ECC: Final = PyEccBackend()
