"""The same work on many scenes: in this process, in others beside it, or on a Ray cluster.

Everything over scenes that is not training goes through `Workers.map`. Results come in the order of
the scenes and do not depend on where they were made. What fails in one scene stays with that scene;
a worker that dies is replaced, and its scene tried again by another.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from forecast.errors import ForecastError, require

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 3
"""How often a scene is tried whose worker dies."""

_NAMED = 5
_AHEAD = 4
"""Scenes per worker that may be done before the one whose turn it is: they wait in memory."""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """A scene that was worked on.

    Attributes:
        item: The scene.
        value: What the function returned.
    """

    item: Item
    value: Result


@dataclass(frozen=True)
class Failed(Generic[Item]):
    """A scene that could not be worked on.

    Attributes:
        item: The scene.
        why: One line.
    """

    item: Item
    why: ForecastError


Outcome = Done[Item, Result] | Failed[Item]
"""What became of a scene."""


@dataclass(frozen=True)
class Workers:
    """Where work on scenes is done.

    Attributes:
        count: Processes; None: one, or with Ray as many as its cluster has cores. A single one
            without Ray is this process itself.
        ray: Address of a Ray cluster, ``local`` for one that is started here and ended with the
            work, or "" to do without. On a cluster every machine must see the same files.
    """

    count: int | None = None
    ray: str = ""

    def __post_init__(self) -> None:
        """Checks the number; raises `ForecastError`."""
        require(self.count is None or self.count >= 1, "workers", self.count, "at least 1")

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        forked: bool = False,
        prepare: Callable[[], None] | None = None,
    ) -> Iterator[Outcome[Item, Result]]:
        """Applies a function to every scene.

        Args:
            function: What is done; sent to each worker once.
            items: The scenes, each different.
            forked: Whether local workers may be forks of this process, which share what it holds
                in memory; not once torch has started threads.
            prepare: What each further process does first.

        Yields:
            What became of each scene, once each, in their order.

        Raises:
            ForecastError: Ray is not installed, or there is no cluster at the address.
        """
        if self.ray:
            yield from self._on_ray(function, items, prepare)
        elif self.count in (None, 1):
            yield from (_attempt(function, item) for item in items)
        else:
            method = "fork" if forked and sys.platform == "linux" else "spawn"
            yield from _in_order(
                lambda: _Process(method, function, prepare), min(self.count or 1, len(items)), items
            )

    def each(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """What a few jobs return, on this machine: their number is no reason to ask a cluster.

        Raises:
            ForecastError: A job raised it or failed; the first in order.
        """
        found = []
        for outcome in Workers(self.count).map(_call, jobs, forked=True):
            if isinstance(outcome, Failed):
                raise outcome.why
            found.append(outcome.value)
        return found

    def _on_ray(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        prepare: Callable[[], None] | None,
    ) -> Iterator[Outcome[Item, Result]]:
        with _cluster(self.ray, self.count) as cores:
            import ray

            sent = ray.put(function)
            count = min(self.count or cores, cores, len(items))
            yield from _in_order(lambda: _Actor(sent, prepare), count, items)


def _attempt(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    try:
        return Done(item, function(item))
    except ForecastError as error:
        return Failed(item, error)
    except Exception as error:  # whatever it is, the other scenes are none the worse
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return Failed(item, ForecastError(f"{words} ({Path(place.filename).name}:{place.lineno})"))


def _call(job: Callable[[], Result]) -> Result:
    return job()


def named(failed: Mapping[str, str]) -> str:
    """The scenes that failed with their reasons, in words; the first few of many."""
    said = [f"{scene} ({why})" for scene, why in failed.items()][:_NAMED]
    return ", ".join(said) + (", …" if len(failed) > _NAMED else "")


class _Worker(Protocol[Item, Result]):
    """One process that does one scene at a time."""

    def submit(self, item: Item) -> Future[Outcome[Item, Result]]:
        """Begins a scene; the future fails if the process dies."""
        ...

    def close(self) -> None:
        """Ends the process."""
        ...


def _in_order(
    hire: Callable[[], _Worker[Item, Result]], count: int, items: Sequence[Item]
) -> Iterator[Outcome[Item, Result]]:
    """Keeps so many workers busy, and gives what they have done in the order of the items."""
    waiting = deque(range(len(items)))
    idle: list[_Worker[Item, Result]] = []
    busy: dict[Future[Outcome[Item, Result]], tuple[_Worker[Item, Result], int]] = {}
    done: dict[int, Outcome[Item, Result]] = {}
    deaths: Counter[int] = Counter()
    given = 0
    try:
        while given < len(items):
            while waiting and len(busy) < count and waiting[0] < given + _AHEAD * count:
                place = waiting.popleft()
                worker = idle.pop() if idle else hire()
                busy[worker.submit(items[place])] = worker, place
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                worker, place = busy.pop(future)
                death = future.exception()
                if death is None:
                    idle.append(worker)
                    done[place] = future.result()
                    continue
                worker.close()
                deaths[place] += 1
                if deaths[place] < TRIES:
                    waiting.appendleft(place)
                else:
                    done[place] = Failed(items[place], _killed(death))
            while given in done:
                yield done.pop(given)
                given += 1
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.close()


def _killed(death: BaseException) -> ForecastError:
    words = " ".join(str(death).split())[:120]
    return ForecastError(
        f"its worker was killed {TRIES} times, perhaps for want of memory ({words}); use fewer "
        "workers"
    )


class _Process:
    """A process of this machine; its executor has room for no other, so who died is known."""

    def __init__(
        self, method: str, function: Callable[[Any], Any], prepare: Callable[[], None] | None
    ) -> None:
        context = multiprocessing.get_context(method)
        self._executor = ProcessPoolExecutor(1, context, _begin, (function, prepare))

    def submit(self, item: Any) -> Future[Outcome[Any, Any]]:
        return self._executor.submit(_work, item)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


_function: Callable[[Any], Any]
"""What a process of this machine does; set by `_begin`."""


def _begin(function: Callable[[Any], Any], prepare: Callable[[], None] | None) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()
    _function = function


def _end_with_parent() -> None:
    """Waits until the process that wants the results is gone: one that is killed ends no worker."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(item: Any) -> Outcome[Any, Any]:
    return _attempt(_function, item)


class _Actor:
    """A process of a Ray cluster."""

    def __init__(self, function: Any, prepare: Callable[[], None] | None) -> None:
        import ray

        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Remote).remote(function, prepare)

    def submit(self, item: Any) -> Future[Outcome[Any, Any]]:
        future: Future[Outcome[Any, Any]] = self._actor.work.remote(item).future()
        return future

    def close(self) -> None:
        import ray

        ray.kill(self._actor)


class _Remote:
    """What lives in a process of a Ray cluster."""

    def __init__(self, function: Callable[[Any], Any], prepare: Callable[[], None] | None) -> None:
        if prepare is not None:
            prepare()
        self._function = function

    def work(self, item: Any) -> Outcome[Any, Any]:
        return _attempt(self._function, item)


@contextmanager
def _cluster(address: str, count: int | None) -> Iterator[int]:
    """Connects to a Ray cluster, or starts one here, for a while; gives its number of cores."""
    try:
        import ray
    except ImportError as error:
        raise ForecastError(
            "--ray: Ray is not installed; pip install 'forecast[ray]', or do without"
        ) from error
    if ray.is_initialized():
        yield _cores()
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {"num_cpus": count, "include_dashboard": False}
    where = here if address == "local" else {"address": address}
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise ForecastError(
            f"--ray {address}: no cluster there ({line}); 'ray start --head' starts one, 'local' "
            "does without"
        ) from error
    try:
        yield _cores()
    finally:
        ray.shutdown()


def _cores() -> int:
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))
