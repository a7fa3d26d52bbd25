"""The verdict on one screen: one word, its reasons, and the comparison with the baselines."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

from forecast.evaluation.output.cases import fallbacks
from forecast.evaluation.output.numbers import NO_INTERVAL, counted, difference, interval, number
from forecast.evaluation.result import EvaluationResult, mean
from forecast.evaluation.run.provenance import not_scored, train_test_leakage
from forecast.evaluation.scoring.statistics import LEVEL, scene_means
from forecast.evaluation.verdict.verdict import WORDS, verdict_of
from forecast.report.baselines import BaselineMatch, matches, possible
from forecast.report.section import Facts, Section, Text


def headline(result: EvaluationResult) -> Section:
    """What was evaluated, the verdict, and the comparison with the baselines."""
    setting, rows = result.setting, result.rows
    facts = (
        ("Predictor", result.predictor),
        ("Data", f"{setting.source}, {setting.split}: {counted(len(setting.scenes), 'scene')}"),
        ("Asked", f"{setting.horizon_s:g} s ahead from {setting.history_s:g} s of history"),
        (
            "Scored",
            f"{counted(len(rows), 'prediction time')}, {int(rows.movers.sum())} of them movers",
        ),
        *((("Fallback", fallbacks(result)),) if fallbacks(result) else ()),
    )
    found = verdict_of(result)
    overall = Text(found.sentence, found.tone, overall=True)
    parts = [Text(f"{part.name.capitalize()}: {part.words}.", part.tone) for part in found.parts]
    words = [*_flags(result), *parts, *_verdicts(result)]
    data = {
        "predictor": result.predictor,
        "overall": {"verdict": WORDS[found.tone], "parts": [asdict(part) for part in found.parts]},
        "flags": [flag.text for flag in _flags(result)],
        "verdicts": {
            match.metric: _difference(result, match)
            for match in possible(result, matches(setting.samples))
        },
    }
    return Section("verdict", "Verdict", (overall, Facts(facts), *words), data)


def _flags(result: EvaluationResult) -> list[Text]:
    """Reasons why the numbers mean less than they seem to."""
    setting, flags = result.setting, []
    if result.failed:
        flags.append(f"{not_scored(result)}. The numbers are of the others.")
    if result.scenes_learnt_from:
        flags.append(f"{train_test_leakage(result)}.")
    if setting.off_protocol:
        flags.append(
            f"The windows are not those of {setting.protocol}: these scores compare with each "
            "other, not with others of that protocol."
        )
    return [Text(flag, "flag") for flag in flags]


def _verdicts(result: EvaluationResult) -> list[Text]:
    found = [_verdict(result, match) for match in possible(result, matches(result.setting.samples))]
    known = [verdict for verdict in found if verdict is not None]
    return known or [
        Text("None of the baselines could be evaluated: there is nothing to compare with.")
    ]


def _verdict(result: EvaluationResult, match: BaselineMatch) -> Text | None:
    """One sentence on the movers; None where either value is not defined."""
    movers = result.rows.movers
    ours = result.values[match.metric][movers]
    theirs = result.baselines[match.baseline].values[match.baseline_metric][movers]
    value, other = mean(ours).value, mean(theirs).value
    if math.isnan(value) or math.isnan(other):
        return None
    scenes = result.rows.scene_ids[movers]
    wins = [np.nanmean((ours - theirs)[scenes == scene]) < 0 for scene in np.unique(scenes)]
    found = scene_means({match.metric: ours - theirs}, scenes)[match.metric]
    sure = f"the difference is {interval(found, signed=True)} m ({LEVEL:.0%})"
    known = sure if interval(found) else NO_INTERVAL
    words = (
        f"{match.title}: {number(value)} m on movers, {difference(value, other)} than "
        f"{match.baseline} ({number(other)} m); lower in {sum(wins)} of "
        f"{counted(len(wins), 'scene')}; {known}."
    ).replace("the same than", "the same as")
    if math.isnan(found.low):
        return Text(words, "open")
    if found.low <= 0 <= found.high:
        return Text(f"{words} That may be chance.", "open")
    return Text(words, "good" if value < other else "bad")


def _difference(result: EvaluationResult, match: BaselineMatch) -> dict[str, object]:
    """The difference on movers for the JSON."""
    theirs = result.baselines[match.baseline].values[match.baseline_metric]
    pairs = {match.metric: result.values[match.metric] - theirs}
    found = scene_means(pairs, result.rows.scene_ids, result.rows.movers)[match.metric]
    return {"floor": match.baseline, "floor_metric": match.baseline_metric, "difference": found}
