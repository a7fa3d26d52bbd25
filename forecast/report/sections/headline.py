"""The verdict, on one screen."""

from __future__ import annotations

import math

import numpy as np

from forecast.evaluation.numbers import difference, number
from forecast.evaluation.provenance import learnt_by_heart
from forecast.evaluation.result import EvaluationResult, mean
from forecast.report.section import Facts, Section, Text


def headline(result: EvaluationResult) -> Section:
    """What was tested, and how it stands to the floors."""
    setting, rows = result.setting, result.rows
    facts = (
        ("Predictor", result.predictor),
        ("Data", f"{setting.source}, {setting.split}: {len(setting.scenes)} scenes"),
        ("Asked", f"{setting.horizon_s:g} s ahead from {setting.history_s:g} s of history"),
        ("Scored", f"{len(rows)} origins, {int(rows.movers.sum())} of them movers"),
    )
    return Section("verdict", "Verdict", (Facts(facts), *_flags(result), *_verdicts(result)))


def _flags(result: EvaluationResult) -> list[Text]:
    """What makes the numbers say less than they seem to."""
    setting, flags = result.setting, []
    if result.scenes_learnt_from:
        flags.append(f"{learnt_by_heart(result)}.")
    if setting.off_protocol:
        flags.append(
            f"The windows are not those of {setting.protocol}: these scores compare with each "
            "other, not with others of that protocol."
        )
    return [Text(flag, "flag") for flag in flags]


def _verdicts(result: EvaluationResult) -> list[Text]:
    k = result.setting.samples
    questions = (
        ("Single best guess", "top1_fde_m", "top1_fde_m", "constant_velocity"),
        (f"Best of {k} raw samples", f"min_fde_{k}_m", f"min_fde_{k}_m", f"kmeans_{k}"),
        (f"Best of {k} selected", f"selected_min_fde_{k}_m", f"min_fde_{k}_m", f"kmeans_{k}"),
        ("Spread (energy score)", "energy_score_m", "energy_score_m", "kalman"),
    )
    verdicts = [_verdict(result, *question) for question in questions]
    known = [verdict for verdict in verdicts if verdict is not None]
    return known or [Text("None of the floors could be evaluated: there is nothing to hold it to.")]


def _verdict(
    result: EvaluationResult, title: str, metric: str, floor_metric: str, floor_name: str
) -> Text | None:
    """One sentence on the movers; None where either side is not defined."""
    floor, movers = result.floors.get(floor_name), result.rows.movers
    if floor is None or floor_name == result.predictor or metric not in result.values:
        return None
    ours, theirs = result.values[metric][movers], floor.values[floor_metric][movers]
    value, other = mean(ours).value, mean(theirs).value
    if math.isnan(value) or math.isnan(other):
        return None
    scenes = result.rows.scene_ids[movers]
    wins = [np.nanmean((ours - theirs)[scenes == scene]) < 0 for scene in np.unique(scenes)]
    words = (
        f"{title}: {number(value)} m on movers, {difference(value, other)} than "
        f"{floor_name} ({number(other)} m); lower in {sum(wins)} of {len(wins)} scenes."
    ).replace("the same than", "the same as")
    return Text(words, "good" if value < other else "bad")
