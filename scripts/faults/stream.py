"""A long stream of traffic that comes and goes, with a prediction and a ranking at every tick."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast import AgentKind, Forecaster, Frame, Scene
from forecast.inference import Stream

from .relations import largest_m

HZ, AGENTS, STAY_S = 10, 8, 20.0
"""Rate of the frames, agents at a time besides the ego, and how long each stays on average."""

_PLANS, _TENTHS = 6, 10
_WARM = 200
"""Ticks before memory is first read: caches fill."""


@dataclass(frozen=True)
class Ticks:
    """What was measured at each tick.

    Attributes:
        processor_ms: Processor time of observing, predicting and ranking ``[N]``.
        memory_mb: Resident memory, one value for every `_TENTHS` of the run, and the first.
        different_m: How far a new stream with the last frames alone is from this one.
        names: Number of agents that were seen.
    """

    processor_ms: NDArray[np.float64]
    memory_mb: NDArray[np.float64]
    different_m: list[float]
    names: int


class Traffic:
    """Agents on straight ways who come and go; the ego drives on at one speed.

    Args:
        seed: Of all random numbers.
    """

    def __init__(self, seed: int) -> None:
        self._rng, self._tick, self._made = np.random.default_rng(seed), 0, 0
        self._agents: list[tuple[str, AgentKind, NDArray[np.float64], NDArray[np.float64]]] = []

    @property
    def made(self) -> int:
        """Number of agents that there have been."""
        return self._made

    def frame(self) -> Frame:
        """The next frame; on average, agents stay for `STAY_S`."""
        stays = self._rng.random(len(self._agents)) > 1 / (STAY_S * HZ)
        self._agents = [each for each, stay in zip(self._agents, stays, strict=True) if stay]
        while len(self._agents) < AGENTS:
            self._agents.append(self._new())
        self._agents = [(name, kind, place + way, way) for name, kind, place, way in self._agents]
        seen = [each for each in self._agents if self._rng.random() > 0.02]
        ego = np.array([0.5 * self._tick % 200 - 100, -6.0])
        self._tick += 1
        return Frame(
            100_000 * self._tick,
            ["ego", *(name for name, *_ in seen)],
            [AgentKind.EGO, *(kind for _, kind, *_ in seen)],
            np.array([ego, *(place for *_, place, _ in seen)]),
        )

    def _new(self) -> tuple[str, AgentKind, NDArray[np.float64], NDArray[np.float64]]:
        kind = AgentKind.VEHICLE if self._rng.random() < 0.25 else AgentKind.PEDESTRIAN
        mps = 8.0 if kind == AgentKind.VEHICLE else 1.3
        angle = self._rng.uniform(-np.pi, np.pi)
        way = mps / HZ * np.array([np.cos(angle), np.sin(angle)])
        self._made += 1
        return f"agent-{self._made}", kind, self._rng.uniform(-30, 30, 2), way


def plans_of(scene: Scene) -> NDArray[np.float64]:
    """Plans ``[P, 12, 3]`` of the ego: straight on, braking more or less."""
    tracks, last = scene.tracks, scene.steps - 1
    (ego,) = np.flatnonzero(tracks.kinds == AgentKind.EGO)
    before, now = tracks.positions_m[ego, last - 1 : last + 1].astype(float)
    speed, heading = np.linalg.norm(now - before) / scene.dt_s, tracks.headings_rad[ego, last]
    times = scene.dt_s * np.arange(1, 13)
    brakes = np.linspace(0, 3, _PLANS)[:, None]
    until = np.minimum(times, speed / np.maximum(brakes, 1e-9))
    way = speed * until - brakes * until**2 / 2
    ahead = way[..., None] * [np.cos(heading), np.sin(heading)]
    return np.concatenate([now + ahead, np.full((*way.shape, 1), heading)], axis=-1)


def measure(model: Forecaster, minutes: float, seed: int = 0) -> Ticks:
    """Runs a stream.

    Args:
        model: What predicts.
        minutes: Duration of the driving; it takes as long as the processor needs.
        seed: Of the traffic.
    """
    traffic, stream = Traffic(seed), model.stream()
    count = round(60 * minutes * HZ)
    spent, memory, different, frames = np.zeros(count), [], [], []
    for tick in range(count):
        frame = traffic.frame()
        start = time.process_time_ns()
        stream.observe(frame)
        stream.predict(samples=5)
        scene = stream.scene()
        if tick >= 5 * HZ and _drives_on(scene):
            model.rank_plans(scene, -1, plans_of(scene), samples=4)
        spent[tick] = (time.process_time_ns() - start) / 1e6
        frames = [*frames[-5 * HZ :], frame]
        if tick == _WARM or (tick > _WARM and (tick + 1) % (count // _TENTHS) == 0):
            memory.append(resident_mb())
            different.append(_from_fresh_m(model, stream, frames))
            print(f"{tick + 1} of {count} ticks", file=sys.stderr, flush=True)
    return Ticks(spent, np.array(memory), different, traffic.made)


def _drives_on(scene: Scene) -> bool:
    """Whether the ego has not just been put back to its start."""
    (ego,) = np.flatnonzero(scene.tracks.kinds == AgentKind.EGO)
    return bool(scene.tracks.valid[ego, -2:].all() and scene.tracks.positions_m[ego, -1, 0] > -90)


def _from_fresh_m(model: Forecaster, stream: Stream, frames: list[Frame]) -> float:
    """The largest difference to a new stream that observed the last 5 s only."""
    fresh = model.stream()
    for frame in frames:
        fresh.observe(frame)
    ours, theirs = stream.predict(samples=5), fresh.predict(samples=5)
    row = {name: number for number, name in enumerate(theirs.agent_ids.tolist())}
    rows = [row[name] for name in ours.agent_ids.tolist()]
    return largest_m(ours.positions_m, theirs.positions_m[:, rows])


def resident_mb() -> float:
    """Memory of this process that is in use."""
    gc.collect()
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096 / 1e6


def p99(ticks: Ticks) -> tuple[float, float]:
    """The 99th percentile of the first and of the last tenth, in ms; first ticks are left out."""
    spent = ticks.processor_ms[_WARM:]
    tenth = max(1, len(spent) // _TENTHS)
    return float(np.percentile(spent[:tenth], 99)), float(np.percentile(spent[-tenth:], 99))


def growth(ticks: Ticks) -> float:
    """By which share memory is larger at the end than after the first tenth."""
    return float(ticks.memory_mb[-1] / ticks.memory_mb[1] - 1)


def holds(ticks: Ticks) -> bool:
    """Whether memory grew by less than 1 %, p99 by less than a half, and a new stream is equal."""
    first, last = p99(ticks)
    return growth(ticks) < 0.01 and last < 1.5 * first and max(ticks.different_m) == 0


def table(ticks: Ticks, minutes: float) -> str:
    """The Markdown table of a run."""
    first, last = p99(ticks)
    rows = {
        "driving, at 10 Hz": f"{minutes:g} min, {len(ticks.processor_ms):,} ticks",
        "agents that came": f"{ticks.names:,}, {AGENTS} and the ego at a time",
        "processor time of a tick, median": f"{np.median(ticks.processor_ms):.1f} ms",
        "the same, 99th percentile of the first and the last tenth": f"{first:.1f}, {last:.1f} ms",
        "memory after the first tenth": f"{ticks.memory_mb[1]:.0f} MB",
        "memory at the end": f"{ticks.memory_mb[-1]:.0f} MB ({100 * growth(ticks):+.2f} %)",
        "largest difference to a stream begun 5 s before": (
            f"{1e3 * max(ticks.different_m):.2g} mm at {len(ticks.different_m)} times"
        ),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])
