"""Parts of a rollout side by side, each on a thread of its own.

Threads that share every small operation instead gain little on networks of this size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_MOST, _LEAST = 4096, 256
"""Agents that are imagined at once: about what the caches hold, and so few that calls cost more."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def part_size(agents: int, device: torch.device) -> int:
    """How many of the agents of all copies are best imagined at once, on one thread."""
    if device.type != "cpu":
        return max(1, agents)
    each = -(-agents // torch.get_num_threads())
    return min(_MOST, max(_LEAST, each))


def side_by_side(job: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Results of a job for each part, in order, without gradients.

    A thread that meets torch for the first time meanwhile computes alone from then on.
    """
    parts, threads = list(parts), torch.get_num_threads()

    def one(part: Part) -> Result:
        with torch.inference_mode():  # which is each thread's own, as the number of threads is
            return job(part)

    if threads == 1 or len(parts) <= 1:
        return [one(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(one, parts))
    finally:
        torch.set_num_threads(threads)  # for threads that are yet to come
