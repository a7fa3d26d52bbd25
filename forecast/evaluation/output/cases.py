"""Single predictions in words: where they are, how they went wrong, and what was special."""

from __future__ import annotations

import numpy as np

from forecast import geometry
from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult, Picture
from forecast.evaluation.scoring.slices import SLICINGS, UNKNOWN

EQUAL_M = 0.01
"""Samples that all stay within this of each other count as equal."""

_MOVED_M = 0.5
"""The direction of a shorter way is not compared."""

_RARE = 0.5
"""A label is named where a smaller share of the prediction times has it."""

_LEAST_SHARE = 0.01

_REDUNDANT = {"ego_distance", "category"}
"""Slicings that the rest of the words says more exactly."""


def case_words(result: EvaluationResult, picture: Picture) -> str:
    """How a prediction went wrong, its situation, and the names to find it by."""
    parts = (error_words, why_words, where_words)
    return " ".join(filter(None, (words(result, picture) for words in parts)))


def error_words(result: EvaluationResult, picture: Picture) -> str:
    """The error at the horizon, and the true way beside the predicted one."""
    window, prediction, agent = picture.window, picture.prediction, picture.agent
    now = window.positions_m[agent, window.history_steps - 1]
    true, guess = window.future_m[agent, -1] - now, prediction.most_probable()[agent, -1] - now
    error = result.values["top1_fde_m"][picture.row]
    lengths = [float(np.hypot(*way)) for way in (true, guess)]
    words = f"went {lengths[0]:.1f} m, guessed {lengths[1]:.1f} m"
    if min(lengths) >= _MOVED_M:
        apart = geometry.wrap_angle(np.arctan2(*true) - np.arctan2(*guess))
        words += f", {np.degrees(abs(apart)):.0f}° apart"
    return f"{error:.2f} m off after {result.setting.horizon_s:g} s: {words}{_of_samples(picture)}."


def _of_samples(picture: Picture) -> str:
    """How near the samples came, or that they are all equal."""
    ends = picture.prediction.positions_m[:, picture.agent, -1]
    if len(ends) < 2:
        return ""
    if np.ptp(ends, axis=0).max() < EQUAL_M:
        return f"; all {len(ends)} samples are equal"
    off = ends - picture.window.future_m[picture.agent, -1]
    return f"; the nearest of {len(ends)} samples {np.hypot(*off.T).min():.2f} m off"


def why_words(result: EvaluationResult, picture: Picture) -> str:
    """The fallback, the distance to the ego, and the slices that few share, the rarest first."""
    rows, row = result.rows, picture.row
    parts = []
    if result.fallback[row]:
        parts.append(
            "FALLBACK: its past is out of distribution, so it got constant velocity instead of "
            "the predictor's own futures."
        )
    distance = rows.quantities["ego_distance_m"][row]
    if not np.isnan(distance):
        parts.append(f"{distance:.0f} m from the ego.")
    found = _labels(result, row)
    if found:
        parts.append(f"{'; '.join(found)}.")
    return " ".join(parts)


def _labels(result: EvaluationResult, row: int) -> list[str]:
    """The labels of the chosen slicings, then those that less than half of all rows have."""
    shares = {}
    for name, column in result.rows.labels.items():
        share = float((column == column[row]).mean())
        if name in result.slices or (share < _RARE and name not in _REDUNDANT):
            shares[name] = share
    known = [name for name in shares if result.rows.labels[name][row] != UNKNOWN]
    ranked = sorted(known, key=lambda name: (name not in result.slices, shares[name]))
    words = {name: result.rows.labels[name][row] for name in ranked}
    return [
        f"{SLICINGS[name].title.lower()}: {label} ({_percent(shares[name])})"
        for name, label in words.items()
    ]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= _LEAST_SHARE else f"under {_LEAST_SHARE:.0%}"


def fallbacks(result: EvaluationResult) -> str:
    """How many rows have a fallback, as text; "" for none."""
    count, whole = int(result.fallback.sum()), len(result.rows)
    if not count:
        return ""
    return (
        f"{count} of {counted(whole, 'prediction time')} got constant velocity, because the past "
        "is out of distribution"
    )


def where_words(result: EvaluationResult, picture: Picture) -> str:
    """Scene, step, time, token and pedestrian."""
    rows, row = result.rows, picture.row
    token = f", sample {rows.frame_ids[row]}" if rows.frame_ids[row] else ""
    return (
        f"{rows.scene_ids[row]}, step {rows.at[row]}, {rows.at_us[row]} us{token}, "
        f"{rows.agent_ids[row]} ({rows.categories[row]})"
    )


def label_words(names: tuple[str, ...], chosen: tuple[str, ...]) -> str:
    """A combination of labels as text: ``crossing: crossing, light: night``."""
    return ", ".join(f"{name}: {label}" for name, label in zip(names, chosen, strict=True))
