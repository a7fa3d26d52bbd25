"""All metrics by their stable names, in the order of the report.

To add one: write its pure function and one line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from forecast.errors import ForecastError, require
from forecast.models.metrics.collision import ego_collision_rate, pairwise_collision_rate
from forecast.models.metrics.criticality import (
    CONFLICT_S,
    conflict_false,
    conflict_missed,
    plan_regret,
)
from forecast.models.metrics.displacement import (
    NAN,
    ade,
    brier_min_fde,
    fde,
    jade,
    jfde,
    min_ade,
    min_fde,
    miss_rate_final,
    miss_rate_waymo,
    sample_mean,
)
from forecast.models.metrics.distribution import coverage, energy_score, kde_nll
from forecast.models.metrics.map_compliance import on_road_share
from forecast.models.metrics.scored import Scored
from forecast.models.metrics.tubes import tube_areas, tube_coverage

_PERCENT = (50, 80, 90, 95)
"""Levels of the regions and tubes whose coverage is a metric."""

BEST_OF = (5, 10, 20)
"""Numbers of samples that the best is chosen from."""

_EGO_CHECK_S = 0.1
"""Longest time between two checks for collisions with the ego vehicle."""


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is.

    Attributes:
        function: Values per scored agent ``[N]``, NaN where it cannot be computed.
        unit: Unit of the values, "1" for shares, "m2" for square metres.
        definition: One line for the report.
        target: The ideal value, if that is neither the lowest nor the highest possible one.
        higher_is_better: Whether higher is always better; false with a ``target``.
        counterpart: The metric of the opposite error, if being best in one alone is no merit.
    """

    function: Callable[[Scored], Tensor]
    unit: str
    definition: str
    target: float | None = None
    higher_is_better: bool = False
    counterpart: str = ""

    def __post_init__(self) -> None:
        """Refuses two directions at once; raises `ForecastError`."""
        both = self.higher_is_better and self.target is not None
        require(not both, "target", self.target, "none where higher_is_better")

    @property
    def lower_is_better(self) -> bool:
        """Whether lower is always better."""
        return self.target is None and not self.higher_is_better

    def loss(self, value: float) -> float:
        """A number that is lower for better values: the value itself, or how far it is off."""
        if self.higher_is_better:
            return -value
        return value if self.target is None else abs(value - self.target)


_UNITS = ("m", "m2", "s", "mps", "rad", "nats", "mb")


def unit_of(name: str) -> str:
    """Unit that the end of a metric's name states, such as ``_m`` or ``_mps``.

    Args:
        name: Name of the metric.

    Returns:
        The unit; "1" for a name without one: a share or a count.
    """
    unit = name.rpartition("_")[2]
    return unit if unit in _UNITS else "1"


def is_rate(name: str) -> bool:
    """Whether the end of a metric's name states that it is a share; see `unit_of`."""
    return unit_of(name) == "1"


def _min_ade(scored: Scored, k: int) -> Tensor:
    return min_ade(scored.samples_m, scored.truth_m, k, scored.weights)


def _min_fde(scored: Scored, k: int) -> Tensor:
    return min_fde(scored.samples_m, scored.truth_m, k, scored.weights)


def _joint_ade(scored: Scored, k: int | None = None) -> Tensor:
    return _to_each_agent(scored, jade(scored.samples_m, scored.truth_m, k, scored.weights))


def _joint_fde(scored: Scored, k: int | None = None) -> Tensor:
    return _to_each_agent(scored, jfde(scored.samples_m, scored.truth_m, k, scored.weights))


def _mean_path(scored: Scored) -> Tensor:
    return sample_mean(scored.samples_m, scored.weights)


def _coverage(scored: Scored, level: float) -> Tensor:
    return coverage(scored.credibility, level, scored.weights).nanmean(-1)


def _tube_coverage(scored: Scored, level: float) -> Tensor:
    return tube_coverage(scored.tubes, scored.truth_m, level).mean(-1)


def _kde_nll(scored: Scored) -> Tensor:
    return kde_nll(scored.samples_m, scored.truth_m, scored.weights).nanmean(-1)


def _to_each_agent(scored: Scored, of_scene: Tensor) -> Tensor:
    return of_scene.expand(len(scored.truth_m))


def _ego_collision(scored: Scored) -> Tensor:
    if scored.ego is None or scored.ego_size_m is None:
        return torch.full_like(scored.truth_m[:, 0, 0], NAN)
    return ego_collision_rate(
        scored.samples_m,
        scored.weights,
        scored.ego,
        scored.ego_size_m,
        substeps=max(1, round(scored.dt_s / _EGO_CHECK_S)),
    )


def _miss_waymo(scored: Scored, time_s: float | None) -> Tensor:
    """At a time, or at the last step; NaN if there is no such step or no true headings."""
    steps = scored.truth_m.shape[1]
    step = steps if time_s is None else round(time_s / scored.dt_s)
    time = step * scored.dt_s
    headings, speed = scored.headings_rad, scored.speed_mps
    on_grid = time_s is None or abs(time - time_s) < 1e-6
    if headings is None or speed is None or not (on_grid and step <= steps and time > 0.5):
        return torch.full_like(scored.truth_m[:, 0, 0], NAN)
    return miss_rate_waymo(scored.samples_m, scored.truth_m, headings, speed, step - 1, time)


def _conflict(function: Callable[[Tensor, Tensor, Tensor], Tensor], scored: Scored) -> Tensor:
    if scored.ego is None:
        return torch.full_like(scored.truth_m[:, 0, 0], NAN)
    return function(scored.encroachment_s, scored.weights, scored.true_encroachment_s)


def _plan_regret(scored: Scored) -> Tensor:
    if scored.ego is None or scored.ego_size_m is None:
        return torch.full_like(scored.truth_m[:, 0, 0], NAN)
    futures = scored.samples_m, scored.weights, scored.truth_m
    return plan_regret(*futures, scored.ego, scored.ego_size_m, scored.dt_s)


def _on_road_share(scored: Scored) -> Tensor:
    positions, weights = scored.samples_m.cpu().numpy(), scored.weights.cpu().numpy()
    share = on_road_share(positions, weights, scored.lane_map)
    return torch.as_tensor(share).to(scored.truth_m)


def _single() -> dict[str, MetricSpec]:
    return {
        "top1_ade_m": MetricSpec(
            lambda s: ade(s.mode_m, s.truth_m),
            "m",
            "ADE of top-1, the predictor's single best guess",
        ),
        "top1_fde_m": MetricSpec(
            lambda s: fde(s.mode_m, s.truth_m),
            "m",
            "FDE of top-1, the predictor's single best guess",
        ),
        "mean_ade_m": MetricSpec(
            lambda s: ade(_mean_path(s), s.truth_m), "m", "ADE of the samples' weighted mean"
        ),
        "mean_fde_m": MetricSpec(
            lambda s: fde(_mean_path(s), s.truth_m), "m", "FDE of the samples' weighted mean"
        ),
    }


def _best_of_k() -> dict[str, MetricSpec]:
    specs = {}
    for name, function in (("ADE", _min_ade), ("FDE", _min_fde)):
        for k in BEST_OF:
            specs[f"min_{name.lower()}_{k}_m"] = MetricSpec(
                partial(function, k=k),
                "m",
                f"lowest {name} of the {k} most probable samples, for each agent on its own",
            )
    for name, function in (("ADE", _joint_ade), ("FDE", _joint_fde)):
        words = "one joint sample, the best of the"
        for k in BEST_OF:
            specs[f"joint_{name.lower()}_{k}_m"] = MetricSpec(
                partial(function, k=k),
                "m",
                f"mean {name} of a scene's agents in {words} {k} most probable, "
                "counted once per agent",
            )
        specs[f"joint_{name.lower()}_m"] = MetricSpec(
            function,
            "m",
            f"mean {name} of a scene's agents in {words} samples, all of them, "
            "counted once per agent",
        )
    return specs


def _of_all_samples() -> dict[str, MetricSpec]:
    return {
        "miss_rate_final_2m": MetricSpec(
            lambda s: miss_rate_final(s.samples_m, s.truth_m, threshold_m=2.0),
            "1",
            "share of agents whose samples all end more than 2 m from the truth",
        ),
        "brier_min_fde_m": MetricSpec(
            lambda s: brier_min_fde(s.samples_m, s.truth_m, s.weights),
            "m",
            "lowest FDE of all samples plus (1 - its weight)^2",
        ),
    }


def _distribution() -> dict[str, MetricSpec]:
    specs = {
        "kde_nll_nats": MetricSpec(
            _kde_nll,
            "nats",
            "negative log-density of the truth, Gaussian KDE of the samples, at most 20, "
            "mean over steps",
        ),
        "energy_score_m": MetricSpec(
            lambda s: energy_score(s.samples_m, s.truth_m, s.weights),
            "m",
            "fair energy score of each step's position, mean over steps; ADE for one sample",
        ),
    }
    for percent in _PERCENT:
        specs[f"coverage_{percent}"] = MetricSpec(
            partial(_coverage, level=percent / 100),
            "1",
            f"share of truths inside the samples' {percent} % highest-density region, "
            "mean over steps",
            target=percent / 100,
        )
    return specs


def _tubes() -> dict[str, MetricSpec]:
    specs = {
        f"tube_coverage_{percent}": MetricSpec(
            partial(_tube_coverage, level=percent / 100),
            "1",
            f"share of truths inside the calibrated {percent} % tubes, mean over steps",
            target=percent / 100,
        )
        for percent in _PERCENT
    }
    specs["tube_area_90_m2"] = MetricSpec(
        lambda s: tube_areas(s.tubes, s.truth_m, 0.9).mean(-1),
        "m2",
        "area of the calibrated 90 % tubes, mean over steps",
    )
    return specs


def _behaviour() -> dict[str, MetricSpec]:
    return {
        "collision_rate_pedestrians": MetricSpec(
            lambda s: pairwise_collision_rate(s.samples_m, s.weights, threshold_m=0.2),
            "1",
            "probability of coming within 0.2 m of another scored pedestrian in the same sample",
        ),
        "collision_rate_ego": MetricSpec(
            _ego_collision,
            "1",
            "probability that a disc of 0.3 m around the pedestrian touches the ego's box",
        ),
        "on_road_share": MetricSpec(
            _on_road_share,
            "1",
            "share of predicted points in the drivable area, off crosswalks and walkways",
        ),
    }


def _criticality() -> dict[str, MetricSpec]:
    specs = {
        f"miss_rate_waymo_{name}": MetricSpec(
            partial(_miss_waymo, time_s=time_s),
            "1",
            f"share of agents without a sample within Waymo's speed-scaled thresholds {words}",
        )
        for name, time_s, words in (
            ("3s", 3.0, "at 3 s (1 m to the side, 2 m along, half of it when walking)"),
            ("5s", 5.0, "at 5 s (1.8 m to the side, 3.6 m along, half of it when walking)"),
            ("final", None, "at the last step"),
        )
    }
    return specs | {
        "conflict_missed": MetricSpec(
            partial(_conflict, conflict_missed),
            "1",
            f"probability of no predicted encroachment on the ego's real path within "
            f"{CONFLICT_S:g} s, for pedestrians who really had one",
            counterpart="conflict_false",
        ),
        "conflict_false": MetricSpec(
            partial(_conflict, conflict_false),
            "1",
            f"probability of a predicted encroachment on the ego's real path within "
            f"{CONFLICT_S:g} s, for pedestrians who really had none",
            counterpart="conflict_missed",
        ),
        "plan_regret_m": MetricSpec(
            _plan_regret,
            "m",
            "progress lost by choosing how to brake by the prediction instead of the truth",
        ),
    }


METRICS: Mapping[str, MetricSpec] = MappingProxyType(
    _single()
    | _best_of_k()
    | _of_all_samples()
    | _distribution()
    | _tubes()
    | _behaviour()
    | _criticality()
)
"""Every metric by its name."""

OF_EVERYBODY = frozenset(_single() | _best_of_k() | _of_all_samples() | _distribution() | _tubes())
"""The metrics that every scored agent has a value of, if the predictor gives what they need."""

TUBE_METRICS = tuple(_tubes())
"""The metrics that are defined for calibrated predictors only."""


def spec(name: str) -> MetricSpec:
    """The metric of that name.

    Raises:
        ForecastError: There is none.
    """
    if name not in METRICS:
        raise ForecastError(f"metric '{name}' is unknown; one of {', '.join(METRICS)} is needed")
    return METRICS[name]


def per_agent(scored: Scored, names: Iterable[str] = METRICS) -> dict[str, Tensor]:
    """Values ``[N]`` of the named metrics, all of them by default."""
    return {name: spec(name).function(scored) for name in names}
