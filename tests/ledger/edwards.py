"""Points of edwards25519 in plain arithmetic: the keys and signatures that must be refused.

Nothing here is fast or constant in time; it makes test vectors apart from the library under test.
"""

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(first: Point, second: Point) -> Point:
    x1, y1 = first
    x2, y2 = second
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def recover_x(y: int) -> int | None:
    """Return the even root of the curve equation for y, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return x if x % 2 == 0 else P - x


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    value = int.from_bytes(data, "little")
    y = (value & (1 << 255) - 1) % P
    x = recover_x(y)
    assert x is not None
    return (P - x) % P if x % 2 != value >> 255 else x, y


def find_torsion() -> list[Point]:
    """Return the eight points whose order divides 8."""
    y = 2
    while True:
        x = recover_x(y)
        if x is not None:
            generator = multiply(ORDER, (x, y))
            multiples = [multiply(factor, generator) for factor in range(8)]
            if len(set(multiples)) == 8:
                return multiples
        y += 1


def encode_small_order() -> list[bytes]:
    """Return the fourteen encodings that ZIP-215 decodes to points of small order."""
    encodings = [encode(point) for point in find_torsion()]
    for point in find_torsion():
        for y in (point[1], point[1] + P):
            for sign in (0, 1):
                data = (y | sign << 255).to_bytes(32, "little") if y < 1 << 255 else b""
                fits = sign == point[0] & 1 or point[0] == 0
                if data and fits and data not in encodings:
                    encodings.append(data)
    return encodings
