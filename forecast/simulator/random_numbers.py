"""Counter-based random numbers: a number depends on (agent key, step, channel) alone.

There is no generator state. So a simulation that is copied and continued with another ego plan uses
the same random numbers for each agent, and so does a simulation that is split over workers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP, _CHANNEL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014). uint64 arithmetic wraps."""
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


def agent_keys(seed: int, scene: int, count: int) -> NDArray[np.uint64]:
    """Returns one key for each agent of a scene ``[A]``.

    Args:
        seed: Seed of the dataset.
        scene: Number of the scene.
        count: Number of agents A.
    """
    root = np.random.SeedSequence([seed, scene]).generate_state(1, np.uint64)
    return _mix(root + np.arange(count, dtype=np.uint64) * _STEP)


Channel = int | NDArray[np.int64]
"""One channel, or several that broadcast against the keys."""


def uniform(keys: NDArray[np.uint64], step: int, channel: Channel) -> NDArray[np.float64]:
    """Returns uniform numbers in ``(0, 1)``, one for each key, or for each key and channel.

    Args:
        keys: Keys of the agents, see `agent_keys`.
        step: Time step, at least -1.
        channel: Which of the numbers of that agent and step.
    """
    channels = np.atleast_1d(channel).astype(np.uint64) + np.uint64(1)
    moment = np.array([step + 1], np.uint64) * _STEP + channels * _CHANNEL
    bits = _mix(_mix(keys ^ moment) + moment) >> np.uint64(11)
    return (bits + 0.5) / 2.0**53


def normal(keys: NDArray[np.uint64], step: int, channel: Channel) -> NDArray[np.float64]:
    """Returns standard normal numbers, like `uniform` (Box and Muller 1958).

    Channel c uses the uniform channels 2 c and 2 c + 1.
    """
    radius = np.sqrt(-2 * np.log(uniform(keys, step, 2 * channel)))
    return radius * np.cos(2 * np.pi * uniform(keys, step, 2 * channel + 1))
