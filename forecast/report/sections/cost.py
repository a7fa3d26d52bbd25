"""Latency and memory of predicting, as measured during scoring."""

from __future__ import annotations

import numpy as np

from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.scores import Timing
from forecast.report.section import Cell, Facts, Section, Table


def cost(result: EvaluationResult) -> Section:
    """Latency of one prediction, and memory."""
    timings = {name: scores.timing for name, scores in result.table.items()}
    memory = max(timing.peak_memory_mb for timing in timings.values())
    rows = tuple(
        (Cell(name), *(Cell(f"{1000 * value:.1f}") for value in _seconds(timing)))
        for name, timing in timings.items()
    )
    agents = result.timing.agents
    caption = (
        "Wall-clock time of one prediction in milliseconds, "
        f"{counted(len(agents), 'prediction')} of {counted(result.setting.samples, 'future')} for "
        f"{np.median(agents):.0f} agents in the middle ({agents.min()} to {agents.max()}). "
        f"Low is good: a step of the data is {1000 * result.setting.dt_s:.0f} ms. Each scene's "
        "first prediction is made once before, untimed, so that no number includes compiling or "
        "loading. As measured here, whatever else the machine did."
    )
    facts = Facts(
        (
            ("Peak memory of a process, scoring included", f"{memory:.0f} MB"),
            ("Threads of a prediction", str(result.timing.threads)),
            ("Machine", result.environment.machine if result.environment else "not known"),
        )
    )
    data = {
        "measured": True,
        "latency_s": {
            name: dict(zip(("median", "p95", "max"), _seconds(timing), strict=True))
            for name, timing in timings.items()
        },
        "peak_memory_mb": memory,
        "threads": result.timing.threads,
    }
    header = ("", "median", "95 %", "largest")
    return Section("cost", "Latency and memory", (Table(caption, header, rows), facts), data)


def _seconds(timing: Timing) -> tuple[float, float, float]:
    seconds = timing.seconds
    return float(np.median(seconds)), float(np.quantile(seconds, 0.95)), float(seconds.max())
