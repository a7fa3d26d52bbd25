"""Evenly spread random numbers: a Sobol sequence, scrambled anew for every key.

Twenty independent draws leave gaps and lie in heaps; twenty points of a scrambled sequence cover
what they are drawn from, while each is still distributed as a draw of its own (Owen 1995). Values
and order are both scrambled, so that the points of one key say nothing about another's. The hash
that scrambles is that of Laine and Karras (2011) as improved by Burley (2020). SciPy's sequences
are scrambled for one key at a time; here are those of all agents at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
"""Numbers of 32 bits."""

_ALL = np.uint64(2**32 - 1)
_SCRAMBLERS = tuple(map(np.uint64, (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6)))
_HALVES = tuple(
    (np.uint64(shift), np.uint64(low))
    for shift, low in (
        (16, 0xFFFF),
        (8, 0xFF00FF),
        (4, 0xF0F0F0F),
        (2, 0x33333333),
        (1, 0x55555555),
    )
)


def scrambled_pairs(keys: Bits, count: int) -> NDArray[np.float64]:
    """The first points of a scrambled (0, 2)-sequence for each key.

    Any 2^m of them that follow a multiple of 2^m lie one in each of the 2^m equal parts of the
    square, however it is parted; more points leave the first as they are.

    Args:
        keys: Three independent ones for each sequence ``[..., 3]``.
        count: Number of points S.

    Returns:
        Uniform in (0, 1), ``[..., S, 2]``.
    """
    order, *values = (keys[..., None, i] for i in range(3))
    index = _scramble(np.arange(count, dtype=np.uint64), order)
    points = [_scramble(x, key) for x, key in zip(_sobol(index), values, strict=True)]
    return (np.stack(points, axis=-1) + 0.5) / 2.0**32


def _sobol(index: Bits) -> tuple[Bits, Bits]:
    """Both coordinates of the points with these indices."""
    second, direction = np.zeros_like(index), np.uint64(2**31)
    for bit in np.arange(32, dtype=np.uint64):
        second ^= direction * (index >> bit & np.uint64(1))
        direction ^= direction >> np.uint64(1)
    return _reversed(index), second


def _scramble(x: Bits, key: Bits) -> Bits:
    """Flips every bit or not by the key and the bits above it (nested uniform scrambling)."""
    x = (_reversed(x) + key) & _ALL
    for factor in _SCRAMBLERS:
        x = x ^ (x * factor & _ALL)
    return _reversed(x)


def _reversed(x: Bits) -> Bits:
    """The 32 bits in the opposite order."""
    for shift, low in _HALVES:
        x = (x >> shift & low) | ((x & low) << shift)
    return x
