"""Runs parts of a rollout at the same time, each on its own thread.

torch can also divide every single operation among threads. For networks of this size that gains
little, because the operations are small. It costs much: after each such operation, threads wait
for the next one at full load, and take the processor from those that have work.

How a rollout is parted does not depend on the number of threads. So its results do not either, not
even in the last bits: those of a matrix product depend on how many rows it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

MOST_AT_ONCE = 1024
"""Highest number of agents of whole scenes imagined at once. With more, there would be no parts for
several threads. With fewer, the fixed cost of calls dominates."""
_THREADS: ContextVar[int] = ContextVar("number of threads of `side_by_side`")

Part = TypeVar("Part")
Result = TypeVar("Result")


@contextmanager
def undivided_operations() -> Iterator[None]:
    """Within this, torch divides no operation among threads; `side_by_side` uses as many as before.

    Also a decorator of functions.
    """
    usual = torch.get_num_threads()
    token = _THREADS.set(_threads())
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(usual)
        _THREADS.reset(token)


def _threads() -> int:
    return _THREADS.get(torch.get_num_threads())


def part_size(agents: int, device: torch.device, most: int) -> int:
    """Number of agents to imagine at once on one thread.

    The number of parts is a power of two, so that 2, 4 or 8 threads get the same number.

    Args:
        agents: Number of agents in all copies together.
        device: Device of the network; another device than the processor takes all at once.
        most: Highest number at once.
    """
    if device.type != "cpu":
        return max(1, agents)
    parts = 1
    while parts * most < agents:
        parts *= 2
    return max(1, -(-agents // parts))


def side_by_side(job: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Results of a job for each part, in order, without gradients.

    A thread that first uses torch while this runs divides its operations among no other threads
    from then on.

    Args:
        job: The function.
        parts: Its arguments.
    """
    parts, threads, usual = list(parts), _threads(), torch.get_num_threads()

    def one(part: Part) -> Result:
        with torch.inference_mode():  # a setting of the current thread only
            return job(part)

    if threads == 1 or len(parts) <= 1:
        return [one(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(one, parts))
    finally:
        torch.set_num_threads(usual)  # the workers' calls changed the default of later threads
