"""Counter-based random numbers of imagined futures.

Prediction uses `keyed_noise`. An agent's numbers are a hash of the seed, its name, the sample and
the step (counter-based random numbers, as in Salmon et al. 2011). They do not depend on the other
agents, on the order of agents, or on the number of samples. So two predictions that differ in one
thing share their random numbers, and their difference is the effect of that thing (common random
numbers).

Training uses `window_noise`, in which all numbers depend on the seed of a window.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from forecast.models.sobol import scrambled_pairs
from forecast.models.types import Noise
from forecast.models.world_model import WorldModelConfig

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment of the counter in SplitMix64: 2**64 divided by the golden ratio."""
_OF_ALL_SAMPLES = 2**40
"""First counter of the keys that serve all samples of an agent. Keys of samples count from 0, so
the
two ranges do not meet."""
_WORLD = np.uint64(2**40)
"""Key of the whole scene. Keys of agents are 32-bit hashes of names, so none is equal to it."""


@dataclass(frozen=True)
class KeyedNoise:
    """Noise of the mode and of S samples.

    The mode has zero noise and is imagined in both chiralities: two futures before the S samples.
    An agent's intents are spread evenly over the samples (`forecast.models.sobol`), and so are the
    chiralities. So few samples represent the distribution as well as more independent ones. Step
    noise is drawn independently. More samples, steps or agents do not change the other numbers.

    Attributes:
        config: Sizes.
        samples: Number of samples S.
        seed: Any integer.
    """

    config: WorldModelConfig
    samples: int
    seed: int

    def mirror(self) -> Tensor:
        """Chirality of each future, those of the mode first ``[2 + S]``."""
        world = _mix(_mix(np.array([_WORLD])) ^ np.uint64(self.seed % 2**64))
        first = (_count_on(world, -(-self.samples // 2))[0] >> np.uint64(63)).astype(np.float32)
        # Samples 2 i and 2 i + 1 have opposite chiralities; the order in a pair is random.
        drawn = np.outer(2 * first - 1, [1, -1]).ravel()[: self.samples]
        return torch.from_numpy(np.concatenate([[1, -1], drawn]).astype(np.float32))

    def intent(self, agent_ids: Iterable[str]) -> Tensor:
        """Latent intents ``[2 + S, N, I]``.

        Args:
            agent_ids: Names of the N agents.
        """
        pairs = -(-self.config.intent // 2)  # the Sobol sequences have two dimensions each
        spread = even_pairs(agent_ids, self.samples, self.seed, pairs)
        numbers = ndtri(spread.reshape(*spread.shape[:2], 2 * pairs)[..., : self.config.intent])
        return _with_mode(numbers.astype(np.float32), axis=0)

    def turn(self, agent_ids: Iterable[str]) -> Tensor:
        """Turns of agents with an unknown heading ``[2 + S, N, 2]``; see `Noise.turn`.

        Args:
            agent_ids: Names of the N agents.
        """
        pairs = -(-self.config.intent // 2)  # the numbers after those of the intents
        share = even_pairs(agent_ids, self.samples, self.seed, pairs + 1)[..., -1, 0]
        return _with_mode(_unit_vectors(2 * np.pi * share), axis=0)

    def steps(self, agent_ids: Iterable[str], first: int, count: int) -> Tensor:
        """Noise of some steps ``[count, 2 + S, N, J]``.

        Args:
            agent_ids: Names of the agents.
            first: Index of the first step.
            count: Number of steps.
        """
        keys, size = self._keys(agent_ids), self.config.noise
        numbers = _normal(_count_on(keys, count * size, first * size)).astype(np.float32)
        small = numbers.reshape(*keys.shape, count, size)
        return _with_mode(small.transpose(2, 1, 0, 3), axis=1)

    def _keys(self, agent_ids: Iterable[str]) -> NDArray[np.uint64]:
        """A key for each agent and sample ``[N, S]``."""
        return _count_on(_agent_keys(agent_ids, self.seed), self.samples)


def _agent_keys(agent_ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """A key for each agent ``[N]``."""
    names = np.array([zlib.crc32(name.encode()) for name in agent_ids], np.uint64)
    return _mix(_mix(names) ^ np.uint64(seed % 2**64))


def even_pairs(
    agent_ids: Iterable[str], samples: int, seed: int, pairs: int = 1
) -> NDArray[np.float64]:
    """Pairs of uniform numbers of each agent, spread evenly over the samples.

    Args:
        agent_ids: Names of the N agents.
        samples: Number of samples S; more do not change the first ones.
        seed: Any integer.
        pairs: Number of independent pairs P.

    Returns:
        Numbers in (0, 1), ``[S, N, P, 2]``.
    """
    own = _count_on(_agent_keys(agent_ids, seed), pairs, before=_OF_ALL_SAMPLES)
    keys = _count_on(own, 3) >> np.uint64(32)
    return np.moveaxis(scrambled_pairs(keys, samples), 2, 0)


def keyed_noise(
    config: WorldModelConfig, agent_ids: Iterable[str], samples: int, steps: int, seed: int
) -> Noise:
    """The noise of T steps; see `KeyedNoise`.

    Args:
        config: Sizes.
        agent_ids: Names of the agents.
        samples: Number of samples S.
        steps: T.
        seed: Any integer.

    Returns:
        Noise of ``2 + S`` futures, float32.
    """
    noise, names = KeyedNoise(config, samples, seed), list(agent_ids)
    small = noise.steps(names, 0, steps)
    return Noise(noise.intent(names), small, noise.mirror(), noise.turn(names))


def window_noise(
    config: WorldModelConfig, seeds: Iterable[int], agents: Iterable[int], samples: int, steps: int
) -> Noise:
    """The noise of a batch of windows; the noise of a window depends on its seed only.

    It does not depend on the other windows of the batch or on the process. All draws are
    independent, because the energy score of the loss is unbiased for independent draws only.

    Args:
        config: Sizes.
        seeds: Seed of each window ``[B]``.
        agents: Number of agents of each window ``[B]``, N in all.
        samples: Number of samples S.
        steps: T.

    Returns:
        Noise of ``2 + S`` futures, float32, with a mirror for each agent.
    """
    parts = [
        _of_window(config, seed, count, samples, steps)
        for seed, count in zip(seeds, agents, strict=True)
    ]
    intents, steps_of, mirrors, turns = zip(*parts, strict=True)
    small = torch.cat(steps_of, 2)
    return Noise(torch.cat(intents, 1), small, torch.cat(mirrors, 1), torch.cat(turns, 1))


def _of_window(
    config: WorldModelConfig, seed: int, agents: int, samples: int, steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Intents, step noise, chiralities and turns of the mode (zero noise) and of the samples."""
    generator = torch.Generator().manual_seed(seed)
    intent = torch.randn(2 + samples, agents, config.intent, generator=generator)
    small = torch.randn(steps, 2 + samples, agents, config.noise, generator=generator)
    mirror = torch.randint(2, (2 + samples,), generator=generator) * 2.0 - 1
    angle = 2 * np.pi * torch.rand(2 + samples, agents, generator=generator)
    turn = torch.stack([angle.cos(), angle.sin()], -1)
    intent[:2], small[:, :2], turn[:2] = 0, 0, 0
    mirror[0], mirror[1] = 1, -1
    return intent, small, mirror[:, None].expand(-1, agents), turn


def _unit_vectors(angle: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unit vectors ``[..., 2]`` at angles ``[...]`` in radians."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def _with_mode(values: NDArray[np.float32], axis: int) -> Tensor:
    """Adds two entries of zeros before the others: the mode in both chiralities."""
    zero = np.zeros_like(np.take(values, [0, 0], axis=axis))
    return torch.from_numpy(np.concatenate([zero, values], axis=axis))


def _count_on(keys: NDArray[np.uint64], count: int, before: int = 0) -> NDArray[np.uint64]:
    """Keys number ``before + 1`` to ``before + count`` of the sequence of each key.

    Args:
        keys: ``[...]``.
        count: Number of keys to derive from each.
        before: Number of keys to skip.

    Returns:
        ``[..., count]``.
    """
    order = np.arange(before + 1, before + count + 1, dtype=np.uint64)
    return _mix(keys[..., None] + order * _GOLDEN)


def _normal(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A standard normal number per key: the inverse distribution function of its upper 53 bits."""
    return ndtri(((keys >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64-bit numbers."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
