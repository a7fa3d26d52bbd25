"""Means with 95 % intervals from a bootstrap over scenes.

The rows of a scene are not independent: its pedestrians share weather, crowd and streets, and the
windows of one pedestrian overlap. So the bootstrap draws whole scenes, with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Nominal coverage of the intervals."""

MIN_SCENES = 5
"""With fewer scenes no interval is given, because too few different draws exist.

In a simulation with skewed rows, 90 % of the intervals of 5 scenes hold the truth, and 94 % of
those of 20 scenes.
"""

MIN_ROWS = 30
"""Means of fewer rows are not reported."""

MOST_SCENES = 10_000
"""More scenes than this are not extrapolated to."""

RESAMPLES = 2000
_SEED = 0


class Estimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        value: The mean; NaN without values.
        low: Lower end of the interval; NaN with fewer than `MIN_SCENES` scenes.
        high: Upper end.
        n: Values behind the mean.
        scenes: Scenes they come from.
    """

    value: float
    low: float
    high: float
    n: int
    scenes: int


def scene_means(
    values: Mapping[str, NDArray[Any]],
    scene_ids: NDArray[np.str_],
    subset: NDArray[Any] | None = None,
    weights: Floats | None = None,
) -> dict[str, Estimate]:
    """Means of several columns of rows, each with its interval.

    The interval is a percentile interval, widened for few clusters as in Hesterberg, "What Teachers
    Should Know about the Bootstrap", The American Statistician 2015, section 4.1. The plain
    interval is too narrow by about ``sqrt((S - 1) / S)`` and uses the normal's quantiles instead of
    Student's. For the interval of a paired difference, give the differences row by row.

    Args:
        values: Columns ``[N]`` by name; rows with NaN do not count in their column.
        scene_ids: Scene of each row ``[N]``.
        subset: Indices or mask of the rows that count; default: all of them.
        weights: Weight of each row ``[N]``, for weighted means; default: equal.

    Returns:
        An estimate by name, in the order of ``values``.
    """
    if not values:
        return {}
    table = np.stack([np.asarray(column, np.float64) for column in values.values()], axis=1)
    scale = np.ones(len(table)) if weights is None else np.asarray(weights, np.float64)
    if subset is not None:
        table, scene_ids, scale = table[subset], scene_ids[subset], scale[subset]
    _, scene = np.unique(scene_ids, return_inverse=True)
    known = ~np.isnan(table)
    share = known * scale[:, None]
    total = _by_scene(np.where(known, table, 0.0) * scale[:, None], scene)
    estimates = _estimates(total, _by_scene(share, scene), _by_scene(known * 1.0, scene))
    return dict(zip(values, estimates, strict=True))


def with_exact_ends(rate: Estimate) -> Estimate:
    """A mean of rates, with the ends that it has where all of them are 0 or all are 1.

    All resamples of such rows are alike, so that the bootstrap's interval has no width however few
    the scenes are. The end is then the bound of Clopper and Pearson, "The Use of Confidence or
    Fiducial Limits", Biometrika 1934: if a larger share of scenes had the event, fewer than 2.5 %
    of all draws of S scenes would be without it.

    Args:
        rate: A mean of values between 0 and 1.

    Returns:
        The same for other means and where there is no interval.
    """
    if rate.low != rate.high or rate.value not in (0, 1):
        return rate
    bound = 1 - ((1 - LEVEL) / 2) ** (1 / rate.scenes)
    return rate._replace(high=bound) if rate.value == 0 else rate._replace(low=1 - bound)


def scene_spread(
    values: NDArray[Any], scene_ids: NDArray[np.str_], subset: NDArray[Any] | None = None
) -> float:
    """Standard deviation between scenes, such that a mean's is this over ``sqrt(S)``.

    A scene counts with what its rows move the mean by: the sum of their deviations from the mean,
    over the mean number of rows of a scene (the linearised ratio estimator).

    Args:
        values: A column ``[N]``; rows with NaN do not count.
        scene_ids: Scene of each row ``[N]``.
        subset: Indices or mask of the rows that count; default: all of them.

    Returns:
        NaN with fewer than 2 scenes.
    """
    column = np.asarray(values, np.float64)
    if subset is not None:
        column, scene_ids = column[subset], scene_ids[subset]
    known = ~np.isnan(column)
    names, scene = np.unique(scene_ids[known], return_inverse=True)
    if len(names) < 2:
        return float("nan")
    off = _by_scene((column[known] - column[known].mean())[:, None], scene)[:, 0]  # [S]
    rows_per_scene = known.sum() / len(names)
    return float(np.sqrt((off**2).sum() / (len(names) - 1)) / rows_per_scene)


def scenes_for(half_width: float, spread: float) -> int | None:
    """Number of scenes from which on an interval reaches no farther than ``half_width``.

    The half width is ``t * spread / sqrt(S)`` with Student's t of S - 1 degrees of freedom.

    Args:
        half_width: From the mean to the end of the interval, above 0.
        spread: See `scene_spread`.

    Returns:
        None beyond `MOST_SCENES`.
    """
    scenes = np.arange(2, MOST_SCENES + 1)
    reach = stats.t.ppf((1 + LEVEL) / 2, scenes - 1) * spread / np.sqrt(scenes)
    narrow = np.flatnonzero(reach <= half_width)
    return int(scenes[narrow[0]]) if len(narrow) else None


def scenes_without_event(half_width: float) -> int | None:
    """`scenes_for` a rate that is 0, or 1, in every row; see `with_exact_ends`."""
    if half_width >= 1:
        return 1
    scenes = math.log((1 - LEVEL) / 2) / math.log1p(-half_width) if half_width > 0 else math.inf
    return math.ceil(scenes) if scenes <= MOST_SCENES else None


def distance_change(
    before: NDArray[Any], after: NDArray[Any], scene_ids: NDArray[np.str_]
) -> Estimate:
    """How much farther from 0 the mean of one column is than the mean of another.

    For metrics with a target, such as a coverage: give each value minus the target. The interval is
    as in `scene_means`, with both means from the same draws.

    Args:
        before: Values of A minus their target ``[N]``; rows with NaN do not count.
        after: The same of B ``[N]``.
        scene_ids: Scene of each row ``[N]``.

    Returns:
        The distance of B's mean minus the distance of A's; below 0, B is nearer to the target.
    """
    known = ~np.isnan(before) & ~np.isnan(after)
    names, scene = np.unique(scene_ids[known], return_inverse=True)
    if len(names) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    columns = np.stack([before[known], after[known], np.ones(known.sum())], axis=1)
    sums = _by_scene(columns.astype(np.float64), scene)  # [S, 3]
    change = _distance_change(sums.sum(axis=0, keepdims=True))[0]
    low = high = np.nan
    if len(names) >= MIN_SCENES:
        tail = _tail(len(names))
        low, high = np.quantile(_distance_change(_draws(len(names)) @ sums), [tail, 1 - tail])
    return Estimate(float(change), float(low), float(high), int(known.sum()), len(names))


def p_value(found: Estimate) -> float:
    """Two-sided p-value of a mean of 0, from the mean's interval.

    The distance from the mean to the interval's end on the side of 0 is taken as Student's t of
    `LEVEL`, so that the p-value is below 5 % where the interval excludes 0. Counting resamples
    gives no p-value between 0 and ``2 / RESAMPLES``, too coarse to correct hundreds of tests.

    Args:
        found: The mean with its interval.

    Returns:
        NaN without an interval.
    """
    near = found.low if found.value > 0 else found.high
    reach = abs(found.value - near)
    if reach == 0:
        return float(found.value == 0)
    t = stats.t.ppf((1 + LEVEL) / 2, found.scenes - 1) * abs(found.value) / reach
    return float(2 * stats.t.sf(t, found.scenes - 1))


def _distance_change(sums: Floats) -> Floats:
    """``|after| - |before|`` of the means ``[B]``, from sums and counts ``[B, 3]``."""
    means = np.abs(sums[:, :2] / sums[:, 2:])
    return means[:, 1] - means[:, 0]


def _by_scene(columns: Floats, scene: NDArray[np.int64]) -> Floats:
    """Sums ``[S, M]`` of columns ``[N, M]``."""
    if len(scene) == 0:
        return np.zeros((0, columns.shape[1]))
    order = np.argsort(scene, kind="stable")
    first = np.flatnonzero(np.diff(scene[order], prepend=-1))
    return np.add.reduceat(columns[order], first, axis=0)


def _estimates(total: Floats, share: Floats, count: Floats) -> list[Estimate]:
    """Estimates from sums, weights and counts by scene ``[S, M]``.

    Columns with values in the same scenes are resampled together.
    """
    present = count > 0
    found: list[Estimate | None] = [None] * total.shape[1]
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for index in range(patterns.shape[1]):
        rows, columns = np.flatnonzero(patterns[:, index]), np.flatnonzero(which.ravel() == index)
        sums, shares = (part[np.ix_(rows, columns)] for part in (total, share))
        low, high = _interval(sums, shares)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = sums.sum(0) / shares.sum(0)
        number = count[:, columns].sum(0)
        for place, column in enumerate(columns):
            found[column] = Estimate(
                float(value[place]),
                float(low[place]),
                float(high[place]),
                int(number[place]),
                len(rows),
            )
    return [estimate for estimate in found if estimate is not None]


def _interval(sums: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Ends ``[M]`` of the intervals of ``sums / shares``, both ``[S, M]`` by scene."""
    scenes, columns = sums.shape
    if scenes < MIN_SCENES:
        nothing = np.full(columns, np.nan)
        return nothing, nothing
    drawn = _draws(scenes)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (drawn @ sums) / (drawn @ shares)
    tail = _tail(scenes)
    low, high = np.nanquantile(means, [tail, 1 - tail], axis=0)
    return low, high


@lru_cache(maxsize=64)
def _draws(scenes: int) -> Floats:
    """How often each scene is drawn in each resample ``[B, S]``."""
    generator = np.random.default_rng([_SEED, scenes])
    return generator.multinomial(scenes, np.full(scenes, 1 / scenes), RESAMPLES).astype(float)


def _tail(scenes: int) -> float:
    """Share of the resamples beyond each end of the widened interval."""
    wide = np.sqrt(scenes / (scenes - 1)) * stats.t.ppf((1 - LEVEL) / 2, scenes - 1)
    return float(stats.norm.cdf(wide))
