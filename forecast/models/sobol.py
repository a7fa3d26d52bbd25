"""Evenly spread random numbers: a Sobol sequence, scrambled independently for every key.

Twenty independent draws leave gaps and form clusters. Twenty points of a scrambled sequence cover
the square evenly, and each single point is still uniformly distributed (Owen 1995). Values and
order are both scrambled, so the points of different keys are independent. The scrambling hash is
that of Laine and Karras (2011) as improved by Burley (2020). SciPy scrambles sequences for one key
at a time; this module does so for all agents at once.
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

    Take any 2^m points whose first index is a multiple of 2^m, and divide the square into 2^m
    rectangles of equal size with power-of-two sides: each rectangle holds one point. Asking for
    more points does not change the first ones.

    Args:
        keys: Three independent 32-bit keys for each sequence ``[..., 3]``.
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
    """Flips every bit depending on the key and the bits above it (nested uniform scrambling)."""
    # Adding and multiplying carry information from lower to higher bits only. Scrambling needs the
    # opposite direction, so the bits are reversed before and after.
    x = (_reversed(x) + key) & _ALL
    for factor in _SCRAMBLERS:
        x = x ^ (x * factor & _ALL)
    return _reversed(x)


def _reversed(x: Bits) -> Bits:
    """The 32 bits in the opposite order."""
    for shift, low in _HALVES:
        x = (x >> shift & low) | ((x & low) << shift)
    return x
