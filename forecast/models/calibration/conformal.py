"""Split-conformal tubes: regions that contain the truth with a stated probability.

A tube is an ellipse per agent and step. The samples' mean is its centre and their regularised
covariance its shape, so it adapts to the window. Its scale is a quantile of the same distance,
measured on calibration windows, per step and group of pedestrians (Mondrian conformal prediction:
Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005).

The guarantee: if a window is exchangeable with the calibration windows of its group, each tube
contains the truth with at least its level, for any model. The guarantee does not extend to new
scenes. Windows of one scene overlap in time, place and pedestrians, so windows of a new scene are
not exchangeable with them. Coverage there varies as if there were not many more calibration windows
than scenes. Therefore scenes are left out in turn, and each tube is fitted at the lowest level, not
below its own, that covered the stated share of the left-out truths. This is measured, not
guaranteed. `Calibration` records the number of scenes.

The library crepes is not used. It would only contribute the quantile of a sorted array of scalar
scores, and it depends on pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.models.observed import ObservedTracks
from forecast.scene import Tubes
from forecast.scene.arguments import ON_STEP
from forecast.scene.tubes import mahalanobis

Floats = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the tubes."""

GROUPS = ("new", "standing", "walking", "fast")
"""Groups of pedestrians. "new" ones were not observed one step before; the others are grouped by
present speed."""

STANDING_BELOW_MPS = 0.3
FAST_FROM_MPS = 1.8
"""Between the two speeds a pedestrian counts as walking."""

MIN_WINDOWS = 100
"""A group with fewer calibration windows at any step gets the radii of all groups pooled."""

_SHRINKAGE = 0.1
_FLOOR_M = 0.2
"""Regularisation. A tenth of the covariance is replaced by an isotropic one of the same mean
variance. A standard deviation of 20 cm in every direction is added, because standing pedestrians
have almost none. Both values minimise the area of 90 % tubes on left-out scenes."""

_MOST_FOLDS = 20
"""Beyond this number of scenes, several are left out at a time."""

_LEVEL_STEP, _HIGHEST_LEVEL = 0.005, 0.99
"""Levels tried for the coverage of scenes left out; `MIN_WINDOWS` allows the highest."""


@dataclass(frozen=True)
class Radii:
    """The scales of one group's tubes.

    Attributes:
        windows: Number of calibration windows at each time ``[T]``.
        scale: Radii ``[T][Q]``, by time and level.
        pooled: Whether they are those of all groups, because the group's own windows are too few.
    """

    windows: list[int]
    scale: list[list[float]]
    pooled: bool


@dataclass(frozen=True)
class Calibration:
    """Fitted tubes, as plain values for a weights file.

    Attributes:
        samples: Number of equally likely samples behind a tube's mean and covariance. The radii are
            valid for this number only.
        times_s: Calibrated times after the present ``[T]``, in ascending order.
        levels: Stated probabilities ``[Q]``, in ascending order.
        groups: Radii in units of the samples' covariance, for each of `GROUPS`.
        constant_velocity: Radii in metres around constant velocity, fitted on all pedestrians.
            They are used for OOD pedestrians. These are not exchangeable with the calibration
            windows, so coverage is not guaranteed.
        scenes: Number of calibration scenes.
        across_scenes: Share of the truths ``[Q]`` inside tubes fitted at `levels`, in scenes left
            out of the fit, over all steps. Empty if there are too few scenes or windows to leave
            some out.
        made_at: Levels ``[Q]`` at which the tubes were fitted instead; at least `levels`.
    """

    samples: int
    times_s: list[float]
    levels: list[float]
    groups: dict[str, Radii]
    constant_velocity: Radii
    scenes: int
    across_scenes: list[float]
    made_at: list[float]

    def __post_init__(self) -> None:
        """Checks that the parts fit together; raises `ForecastError`."""
        require(list(self.groups) == list(GROUPS), "groups", list(self.groups), f"{GROUPS}")
        rising = self.times_s == sorted(set(self.times_s)) and bool(self.times_s)
        require(rising, "times_s", self.times_s, "a rising list of seconds")
        require(self.samples > 0, "samples", self.samples, "at least 1")
        for name, radii in {**self.groups, "constant_velocity": self.constant_velocity}.items():
            rows = [len(row) for row in radii.scale]
            whole = rows == [len(self.levels)] * len(self.times_s)
            require(whole, f"{name}: number of radii", rows, "one per time and level")

    def tubes(
        self,
        samples_m: NDArray[np.float32],
        seen: ObservedTracks,
        ood: NDArray[np.bool_] | None = None,
    ) -> Tubes:
        """The tubes of the pedestrians of a scene.

        Steps between calibrated times get interpolated radii; steps before the first calibrated
        time get its radii.

        Args:
            samples_m: Equally likely joint futures ``[K, A, T, 2]``; the first `samples` are used.
            seen: The observed history of the agents.
            ood: OOD mask ``[A]``: agents predicted at constant velocity instead; None for none.

        Raises:
            ForecastError: There are too few samples, or steps beyond the last calibrated time.
        """
        samples, _, steps, _ = samples_m.shape
        require(samples >= self.samples, "samples", samples, f"{self.samples} for the tubes")
        times_s = seen.dt_s * np.arange(1, steps + 1)
        need = f"at most {self.times_s[-1]:g} s, as far as the tubes are calibrated,"
        require(self.reach(seen.dt_s, steps), "horizon_s", round(float(times_s[-1]), 6), need)
        centre, shape = ellipses(samples_m[: self.samples])
        scale = self._scales((self.groups[name] for name in GROUPS), times_s)[groups_of(seen)]
        if ood is not None:
            replaced = ood[:, None, None]
            centre = np.where(replaced, seen.constant_velocity_m(steps), centre)
            shape = np.where(replaced[..., None], np.eye(2), shape)
            scale = np.where(replaced, self._scales([self.constant_velocity], times_s)[0], scale)
        return Tubes(centre, shape, scale, tuple(self.levels), seen.pedestrians)

    def reach(self, dt_s: float, steps: int) -> bool:
        """Whether there are radii for so many steps."""
        return steps * dt_s <= self.times_s[-1] + ON_STEP * dt_s

    def fallback_radii_m(
        self, quantile: NDArray[np.float64], dt_s: float, steps: int
    ) -> NDArray[np.float64]:
        """Distances from constant velocity that hold a stated share of the truths.

        At the levels of the tubes it is their radius. Between them the squared radius is
        interpolated, as of a point that is equally likely anywhere in between. Beyond the last
        level it grows as that of a normal distribution.

        Args:
            quantile: Shares, between 0 and 1 ``[...]``.
            dt_s: Step length.
            steps: Number of steps T.

        Returns:
            Radii ``[..., T]`` in metres.
        """
        times_s = dt_s * np.arange(1, steps + 1)
        radii = self._scales([self.constant_velocity], times_s)[0]  # [T, Q]
        last = self.levels[-1]
        beyond = np.log1p(-np.maximum(quantile, last)) / np.log1p(-last)
        known, shares = np.minimum(quantile, last), [0.0, *self.levels]
        squared = [np.interp(known, shares, [0.0, *np.square(row)]) for row in radii]
        return np.sqrt(np.stack(squared, axis=-1) * beyond[..., None])

    def _scales(self, radii: Iterable[Radii], times_s: Floats) -> Floats:
        """Radii ``[G, T, Q]`` at any times up to the last calibrated one."""
        known = np.array([each.scale for each in radii])
        place = np.interp(times_s, self.times_s, np.arange(len(self.times_s)))
        before = np.floor(place).astype(int)
        after = np.minimum(before + 1, len(self.times_s) - 1)
        share = (place - before)[:, None]
        return known[:, before] * (1 - share) + known[:, after] * share


def groups_of(seen: ObservedTracks) -> NDArray[np.int64]:
    """Index into `GROUPS` of each agent ``[A]``."""
    speed = np.hypot(*seen.velocity_mps().T)
    by_speed = 1 + np.digitize(speed, [STANDING_BELOW_MPS, FAST_FROM_MPS])
    return np.where(np.isnan(speed), 0, by_speed)


def ellipses(samples_m: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Centres and shapes of the ellipses.

    The centre is the mean, because every predictor of samples has one. On left-out scenes, tubes
    around the mode were a tenth smaller at 50 % and no smaller from 80 % on.

    Args:
        samples_m: Equally likely joint futures ``[K, A, T, 2]``.

    Returns:
        Centres ``[A, T, 2]`` in m and shapes (regularised covariances) ``[A, T, 2, 2]`` in m^2.
    """
    samples = samples_m.astype(np.float64)
    centre: Floats = samples.mean(axis=0)
    offset = samples - centre
    covariance = np.einsum("katd,kate->atde", offset, offset) / len(samples)
    mean_variance = np.trace(covariance, axis1=-2, axis2=-1) / 2
    round_part = (_SHRINKAGE * mean_variance + _FLOOR_M**2)[..., None, None] * np.eye(2)
    return centre, (1 - _SHRINKAGE) * covariance + round_part


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """Distances of the truth from the prediction, in N calibration windows of one pedestrian each.

    Attributes:
        distance: Distance from the centre, in units of the shape (`ellipses`), ``[N, T]``; NaN
            where the truth is not known.
        constant_velocity_m: Distance from constant velocity in metres ``[N, T]``.
        group: Indices into `GROUPS` ``[N]``.
        scene: Names of the scenes ``[N]``.
        ood: OOD mask ``[N]``: windows in which the prediction would fall back to constant velocity.
            They are left out of every group.
    """

    distance: Floats
    constant_velocity_m: Floats
    group: NDArray[np.int64]
    scene: NDArray[np.str_]
    ood: NDArray[np.bool_]

    @classmethod
    def of(
        cls, samples_m: NDArray[np.float32], seen: ObservedTracks, truth_m: Floats, scene: str
    ) -> CalibrationScores:
        """The scores of some agents of one window, with an empty OOD mask.

        Args:
            samples_m: Their futures ``[K, N, T, 2]``.
            seen: Their observed history.
            truth_m: True positions ``[N, T, 2]``; NaN where they are not known.
            scene: Name of the scene.
        """
        agents, steps, _ = truth_m.shape
        centre, shape = ellipses(samples_m)
        return cls(
            distance=mahalanobis(truth_m - centre, shape),
            constant_velocity_m=np.linalg.norm(truth_m - seen.constant_velocity_m(steps), axis=-1),
            group=groups_of(seen),
            scene=np.full(agents, scene),
            ood=np.zeros(agents, bool),
        )

    @classmethod
    def joined(cls, parts: Iterable[CalibrationScores]) -> CalibrationScores:
        """The windows of several scores together."""
        several = list(parts)
        names = [each.name for each in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in several]) for name in names))

    def with_ood(self, ood: NDArray[np.bool_]) -> CalibrationScores:
        """The same with another OOD mask ``[N]``."""
        return replace(self, ood=ood)

    def select(self, rows: NDArray[np.bool_]) -> CalibrationScores:
        """Some of the windows."""
        return CalibrationScores(*(getattr(self, each.name)[rows] for each in fields(self)))


def fit_tubes(scores: CalibrationScores, times_s: Iterable[float], samples: int) -> Calibration:
    """Fits the radii.

    Args:
        scores: Scores of all calibration windows.
        times_s: Time of each step after the present ``[T]``.
        samples: Number of futures behind the scores.

    Raises:
        ForecastError: There are too few windows for the highest level.
    """
    scenes = np.unique(scores.scene)
    across, made_at = _levels_across(scores, scenes)
    return Calibration(
        samples=samples,
        times_s=[round(float(time), 6) for time in times_s],
        levels=list(LEVELS),
        groups=_groups(scores, made_at),
        constant_velocity=_radii(scores.constant_velocity_m, made_at, pooled=True),
        scenes=len(scenes),
        across_scenes=across,
        made_at=made_at,
    )


def _groups(scores: CalibrationScores, levels: Sequence[float]) -> dict[str, Radii]:
    """Radii of every group: its own with enough windows at every step, else pooled ones."""
    distance, group = scores.distance[~scores.ood], scores.group[~scores.ood]
    pooled = _radii(distance, levels, pooled=True)
    found = {}
    for index, name in enumerate(GROUPS):
        own = distance[group == index]
        enough = (~np.isnan(own)).sum(axis=0).min(initial=len(own)) >= MIN_WINDOWS
        found[name] = _radii(own, levels, pooled=False) if enough else pooled
    return found


def _radii(scores: Floats, levels: Sequence[float], *, pooled: bool) -> Radii:
    windows = (~np.isnan(scores)).sum(axis=0)
    return Radii(windows.tolist(), conformal_quantiles(scores, levels).tolist(), pooled)


def _levels_across(
    scores: CalibrationScores, scenes: NDArray[np.str_]
) -> tuple[list[float], list[float]]:
    """Coverage of left-out scenes by plain tubes, and the levels that reach `LEVELS` there."""
    folds = [np.isin(scores.scene, scenes[fold::_MOST_FOLDS]) for fold in range(_MOST_FOLDS)]
    known = ~np.isnan(scores.distance) & ~scores.ood[:, None]
    if len(scenes) < 2 or min(known[~fold].sum(axis=0).min() for fold in folds) < MIN_WINDOWS:
        return [], list(LEVELS)
    levels = np.round(np.arange(min(LEVELS), _HIGHEST_LEVEL + 1e-9, _LEVEL_STEP), 6)
    inside = np.zeros(len(levels))
    for fold in folds:
        radii = _groups(scores.select(~fold), levels.tolist())
        tested = scores.select(fold & ~scores.ood)
        scale = np.array([each.scale for each in radii.values()])[tested.group]  # [N, T, Q]
        inside += (tested.distance[..., None] <= scale).sum(axis=(0, 1))
    covered = inside / known.sum()
    reached = levels[np.minimum(np.searchsorted(covered, LEVELS), len(levels) - 1)]
    plain = np.round(np.interp(LEVELS, levels, covered), 4)
    return plain.tolist(), np.maximum(reached, LEVELS).tolist()


def conformal_quantiles(scores: Floats, levels: Iterable[float]) -> Floats:
    """The ``ceil((n + 1) level)``-th smallest score of each column.

    Let a further score be exchangeable with these n. The probability that it is at most this value
    is at least the level; if no two scores are equal, it is also at most the level plus
    ``1 / (n + 1)`` (Vovk et al. 2005; Lei et al., Distribution-free predictive inference for
    regression, JASA 2018).

    Args:
        scores: ``[N, T]``; NaN values are left out.
        levels: Between 0 and 1 ``[Q]``.

    Returns:
        ``[T, Q]``.

    Raises:
        ForecastError: A column has too few scores for the highest level.
    """
    wanted = np.array(list(levels))
    count = (~np.isnan(scores)).sum(axis=0)
    rank = np.ceil((count[:, None] + 1) * wanted - 1e-9).astype(int)  # [T, Q]
    least = int(np.ceil(wanted.max() / (1 - wanted.max()) - 1e-9))
    fewest = int(count.min(initial=len(scores)))
    expected = f"at least {least} at every step, for a level of {wanted.max():g}; give more scenes"
    require(bool((rank <= count[:, None]).all()), "calibration windows", fewest, expected)
    ordered = np.sort(scores, axis=0)  # NaN come last
    return ordered[rank - 1, np.arange(scores.shape[1])[:, None]]
