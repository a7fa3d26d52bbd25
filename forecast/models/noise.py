"""Random numbers that belong to an agent, not to its place in a list.

Each agent's numbers depend on the seed and its name alone. Leaving another agent out, or listing
the agents in another order, leaves them as they are, so a difference between two forecasts is the
effect of what was changed (common random numbers).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from forecast.models.world_model import Noise, WorldModelConfig

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keyed_noise(
    config: WorldModelConfig, agent_ids: Iterable[str], samples: int, steps: int, seed: int
) -> Noise:
    """Noise of the most probable future (entry 0, all zero) and of S sampled ones.

    The intents of one agent's S samples are a randomised low-discrepancy set: a Sobol sequence,
    shifted and shuffled by numbers of the agent (Owen 1998). Every single one is standard normal,
    and together they cover the distribution more evenly than independent draws.

    Args:
        config: Sizes.
        agent_ids: Names of the agents.
        samples: Number of samples S.
        steps: T.
        seed: Any integer.

    Returns:
        Noise of ``1 + S`` futures, float32.
    """
    keys = _mix(np.array([zlib.crc32(name.encode()) for name in agent_ids], np.uint64))
    keys = _mix(keys ^ np.uint64(seed % 2**64))  # [A]
    intent = _intents(keys, samples, config.intent)
    small = _uniform(keys, steps * samples * config.noise, salt=3)
    small = ndtri(small).reshape(len(keys), steps, samples, config.noise)
    return Noise(
        _with_mode(intent.transpose(1, 0, 2), axis=0),
        _with_mode(small.transpose(1, 2, 0, 3), axis=1),
    )


def _intents(keys: NDArray[np.uint64], samples: int, dimensions: int) -> NDArray[np.float64]:
    """Standard normal intents ``[A, S, I]``, evenly spread over each agent's samples."""
    sobol = qmc.Sobol(dimensions, scramble=False).random_base2(max(samples - 1, 1).bit_length())
    order = _uniform(keys, samples, salt=1).argsort(axis=1)  # [A, S]
    shift = _uniform(keys, dimensions, salt=2)[:, None]  # [A, 1, I]
    points = (sobol[:samples][order] + shift) % 1.0
    return ndtri(np.clip(points, 1e-9, 1 - 1e-9))


def _with_mode(values: NDArray[Any], axis: int) -> torch.Tensor:
    """Puts an all-zero entry in front."""
    zero = np.zeros_like(np.take(values, [0], axis=axis))
    return torch.from_numpy(np.concatenate([zero, values], axis=axis).astype(np.float32))


def _uniform(keys: NDArray[np.uint64], count: int, salt: int) -> NDArray[np.float64]:
    """``count`` uniform numbers in (0, 1) per key ``[A, count]``, counter-based."""
    counter = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(salt << 40)
    mixed = _mix(keys[:, None] + counter * _GOLDEN)
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
