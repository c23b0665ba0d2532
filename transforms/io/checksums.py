"""CRC-32C of joined bytes, from the parts' own."""

from __future__ import annotations

import functools

# Castagnoli's polynomial, its bits reflected: bit 31 stands for x^0.
_POLYNOMIAL = 0x82F63B78
_ONE = 1 << 31


def crc32c_of_both(first: int, second: int, second_bytes: int) -> int:
    """The CRC-32C of bytes that end in `second_bytes` others, of which it is `second`."""
    return _multiply(_zeros(second_bytes), first) ^ second


def _zeros(count: int) -> int:
    """What following by `count` zero bytes multiplies a CRC by: x^(8 count)."""
    product, power = _ONE, 3
    while count:
        if count & 1:
            product = _multiply(_square(power), product)
        count >>= 1
        power += 1
    return product


@functools.cache
def _square(power: int) -> int:
    """x^(2^power)."""
    if power == 0:
        return _ONE >> 1
    root = _square(power - 1)
    return _multiply(root, root)


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials modulo the CRC's."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
