"""Runs parts of a rollout at the same time, each on its own thread.

torch can also divide every single operation among threads. For networks of this size that gains
little, because the operations are small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

WHOLE_SCENE, AFFECTED_ROWS = 1536, 4096
"""Highest numbers of agents imagined at once. More do not fit into the caches. With fewer, the
fixed cost of calls dominates; it is higher for the affected rows of reactive rollouts."""
_LEAST = 256

Part = TypeVar("Part")
Result = TypeVar("Result")


def part_size(agents: int, device: torch.device, most: int) -> int:
    """Number of agents to imagine at once on one thread; all threads get the same number of parts.

    Args:
        agents: Number of agents in all copies together.
        device: Device of the network; another device than the processor takes all at once.
        most: Highest number at once, `WHOLE_SCENE` or `AFFECTED_ROWS`.
    """
    if device.type != "cpu":
        return max(1, agents)
    each = -(-agents // torch.get_num_threads())
    rounds = max(1, -(-each // most))
    return max(_LEAST, -(-each // rounds))


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
