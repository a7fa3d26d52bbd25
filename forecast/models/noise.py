"""Random numbers that belong to an agent, not to its place in a list.

Each agent's numbers depend on the seed and its name alone. Leaving another agent out, or listing
the agents in another order, leaves them as they are, so a difference between two forecasts is the
effect of what was changed (common random numbers).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from forecast.models.state import Noise
from forecast.models.world_model import WorldModelConfig

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORLD = np.uint64(2**40)
"""Stands for the whole scene, beside the names (below 2**32) that stand for agents."""


def keyed_noise(
    config: WorldModelConfig, agent_ids: Iterable[str], samples: int, steps: int, seed: int
) -> Noise:
    """Noise of the mode (seen with either hand, no noise) and of S independent samples.

    More samples, more steps or more agents leave the numbers there were as they are.

    Args:
        config: Sizes.
        agent_ids: Names of the agents.
        samples: Number of samples S.
        steps: T.
        seed: Any integer.

    Returns:
        Noise of ``2 + S`` futures, float32.
    """
    names = np.array([zlib.crc32(name.encode()) for name in agent_ids], np.uint64)
    agents = _mix(_mix(names) ^ np.uint64(seed % 2**64))
    world = _mix(_mix(np.array([_WORLD])) ^ np.uint64(seed % 2**64))
    keys = _count_on(agents, samples)  # [A, S]
    numbers = _normal(_count_on(keys, config.intent + steps * config.noise))
    intent, small = np.split(numbers.astype(np.float32), [config.intent], axis=-1)
    small = small.reshape(*keys.shape, steps, config.noise)
    left = (_count_on(world, samples)[0] >> np.uint64(63)).astype(np.float32)
    return Noise(
        _with_mode(intent.transpose(1, 0, 2), axis=0),
        _with_mode(small.transpose(2, 1, 0, 3), axis=1),
        torch.from_numpy(np.concatenate([[1, -1], 2 * left - 1]).astype(np.float32)),
    )


def _with_mode(values: NDArray[np.float32], axis: int) -> torch.Tensor:
    """Puts two all-zero entries in front."""
    zero = np.zeros_like(np.take(values, [0, 0], axis=axis))
    return torch.from_numpy(np.concatenate([zero, values], axis=axis))


def _count_on(keys: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """``count`` further keys of each ``[..., count]``."""
    return _mix(keys[..., None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def _normal(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A standard normal number per key."""
    return ndtri(((keys >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
