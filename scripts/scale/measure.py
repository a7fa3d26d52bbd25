"""Measures elapsed time, processor time and memory of work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Cost:
    """The cost of a command.

    Attributes:
        clock_s: Elapsed time; other programs on the machine increase it.
        processor_s: Processor time, that of workers included.
        peak_bytes: Peak memory. For a command with workers it is that of all its processes; pages
            that they share count once.
    """

    clock_s: float
    processor_s: float
    peak_bytes: int

    def cells(self) -> str:
        """The columns of a table."""
        return f"{self.clock_s:.0f} s | {self.processor_s:.0f} s | {self.peak_bytes / 1e9:.2f} GB"


def cost_of(*words: str) -> Cost:
    """Runs Python with these arguments; stops the script if it fails."""
    start, together = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as process:
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            together = max(together, _memory_with_workers(process.pid))
            time.sleep(_LOOK_EVERY_S)
    if process.returncode:
        sys.exit(process.returncode)
    return Cost(
        time.perf_counter() - start,
        used.ru_utime + used.ru_stime,
        max(used.ru_maxrss * 1024, together),
    )


def _memory_with_workers(process: int) -> int:
    """Memory of a process and its workers; 0 without workers, as `os.wait4` measures that case."""
    try:
        workers = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return sum(share_of(int(each)) for each in [process, *workers]) if workers else 0
    except (OSError, StopIteration):  # one has just ended
        return 0


def share_of(process: int) -> int:
    """Memory of a process in bytes; a page that n processes map counts as an n-th part."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def processor_ms(call: Callable[[Any], object], items: Iterable[Any]) -> float:
    """Median processor time of a call on each of some items."""
    spent = []
    for item in items:
        start = time.process_time_ns()
        call(item)
        spent.append(time.process_time_ns() - start)
    return float(np.median(spent)) / 1e6
