"""Runs parts of a rollout at the same time, each on its own thread.

torch can also divide every single operation among threads. For networks of this size that gains
little, because the operations are small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_MOST, _LEAST = 4096, 256
"""Limits of the number of agents imagined at once. More do not fit into the caches; with fewer, the
fixed cost of calls dominates."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def part_size(agents: int, device: torch.device) -> int:
    """Number of agents to imagine at once on one thread.

    Args:
        agents: Number of agents in all copies together.
        device: Device of the network; another device than the processor takes all at once.
    """
    if device.type != "cpu":
        return max(1, agents)
    each = -(-agents // torch.get_num_threads())
    return min(_MOST, max(_LEAST, each))


def side_by_side(job: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Results of a job for each part, in order, without gradients.

    A thread that first uses torch while this runs divides its operations among no other threads
    from then on.

    Args:
        job: The function.
        parts: Its arguments.
    """
    parts, threads = list(parts), torch.get_num_threads()

    def one(part: Part) -> Result:
        with torch.inference_mode():  # a setting of the current thread only
            return job(part)

    if threads == 1 or len(parts) <= 1:
        return [one(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(one, parts))
    finally:
        torch.set_num_threads(threads)  # the workers' calls changed the default of later threads
