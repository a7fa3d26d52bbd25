"""Applies a function to many scenes: in this process, in several processes, or on a Ray cluster.

All work over scenes except training goes through `Workers.map`. Results come in the order of the
scenes and do not depend on the process that computed them. A failure in one scene does not affect
the others. A worker that dies is replaced, and another worker tries its scene again.
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
"""How often a scene is tried if its worker dies."""

_NAMED = 5
"""Number of failed scenes that a message names."""
_AHEAD = 4
"""Limit of scenes per worker that may be started after the next one to yield. Their results wait in
memory."""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """A scene with a result.

    Attributes:
        item: The scene.
        value: What the function returned.
    """

    item: Item
    value: Result


@dataclass(frozen=True)
class Failed(Generic[Item]):
    """A scene without a result.

    Attributes:
        item: The scene.
        why: The reason, one line.
    """

    item: Item
    why: ForecastError


Outcome = Done[Item, Result] | Failed[Item]
"""The outcome of a scene."""


@dataclass(frozen=True)
class Workers:
    """The processes that work on scenes.

    Attributes:
        count: Number of processes. None means one, or with Ray the number of the cluster's cores. A
            single process without Ray is this process itself.
        ray: Address of a Ray cluster; ``local`` starts one on this machine and ends it with the
            work; "" uses none. On a cluster every machine must see the same files.
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
            function: The function; sent to each worker once.
            items: The scenes, all different.
            forked: Whether local workers may be forks of this process, which share its memory. Must
                be false once torch has started threads.
            prepare: Called first in each further process.

        Yields:
            The outcome of each scene, in order.

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
        """Results of a few jobs, in order. They run on this machine even if a cluster is given.

        Args:
            jobs: Functions without arguments.

        Raises:
            ForecastError: A job failed; the error of the first in order.
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
    except (Exception, SystemExit) as error:  # of one scene: must leave the others unaffected
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return Failed(item, ForecastError(f"{words} ({Path(place.filename).name}:{place.lineno})"))


def _call(job: Callable[[], Result]) -> Result:
    return job()


def named(failed: Mapping[str, str]) -> str:
    """The first few failed scenes with their reasons, as text.

    Args:
        failed: Reasons by scene.
    """
    first = [f"{scene} ({why})" for scene, why in failed.items()][:_NAMED]
    return ", ".join(first) + (", …" if len(failed) > _NAMED else "")


class _Worker(Protocol[Item, Result]):
    """One process that works on one scene at a time."""

    def submit(self, item: Item) -> Future[Outcome[Item, Result]]:
        """Starts a scene; the future fails if the process dies."""
        ...

    def close(self) -> None:
        """Ends the process."""
        ...


def _in_order(
    start: Callable[[], _Worker[Item, Result]], count: int, items: Sequence[Item]
) -> Iterator[Outcome[Item, Result]]:
    """Keeps a number of workers busy, and yields their outcomes in the order of the items."""
    waiting = deque(range(len(items)))
    idle: list[_Worker[Item, Result]] = []
    busy: dict[Future[Outcome[Item, Result]], tuple[_Worker[Item, Result], int]] = {}
    done: dict[int, Outcome[Item, Result]] = {}
    tries: Counter[int] = Counter()
    yielded = 0
    try:
        while yielded < len(items):
            # The limit keeps one slow scene from filling the memory with results after it.
            while waiting and len(busy) < count and waiting[0] < yielded + _AHEAD * count:
                place = waiting.popleft()
                worker = idle.pop() if idle else start()
                busy[worker.submit(items[place])] = worker, place
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                worker, place = busy.pop(future)
                error = future.exception()
                if error is None:
                    idle.append(worker)
                    done[place] = future.result()
                    continue
                worker.close()  # its process died
                tries[place] += 1
                if tries[place] < TRIES:
                    waiting.appendleft(place)
                else:
                    done[place] = Failed(items[place], _killed(error))
            while yielded in done:
                yield done.pop(yielded)
                yielded += 1
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.close()


def _killed(error: BaseException) -> ForecastError:
    words = " ".join(str(error).split())[:120]
    return ForecastError(
        f"its worker was killed {TRIES} times, perhaps because memory ran out ({words}); use fewer "
        "workers"
    )


class _Process:
    """A process of this machine.

    Each process has an executor of its own. An executor of several processes fails as a whole when
    one of them dies, and it does not report which one.
    """

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
"""The function of a worker process on this machine; set by `_begin`."""


def _begin(function: Callable[[Any], Any], prepare: Callable[[], None] | None) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()
    _function = function


def _end_with_parent() -> None:
    """Waits for the end of the parent process: a parent that is killed cannot end its workers."""
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
    """The object in a process of a Ray cluster that does the work."""

    def __init__(self, function: Callable[[Any], Any], prepare: Callable[[], None] | None) -> None:
        if prepare is not None:
            prepare()
        self._function = function

    def work(self, item: Any) -> Outcome[Any, Any]:
        return _attempt(self._function, item)


@contextmanager
def _cluster(address: str, count: int | None) -> Iterator[int]:
    """A connection to a Ray cluster, or to one that is started here; gives its number of cores."""
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
