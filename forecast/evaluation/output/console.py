"""The table that an evaluation prints at its end."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.cases import case_words, fallbacks, label_words
from forecast.evaluation.output.numbers import UNDEFINED, counted, number
from forecast.evaluation.output.pictures import worst_row
from forecast.evaluation.result import EvaluationResult, Mean
from forecast.evaluation.run.provenance import (
    changed_predictions,
    not_scored,
    train_test_leakage,
)
from forecast.evaluation.scoring.slices import combinations
from forecast.evaluation.scoring.statistics import MIN_ROWS
from forecast.evaluation.verdict.verdict import verdict_of
from forecast.models.metrics.registry import BEST_OF

_NAME_WIDTH = 19
_WIDTH = 120
_WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}


def table(result: EvaluationResult) -> str:
    """The scores of the predictor and the baselines, at most 120 columns wide."""
    setting = result.setting
    lines = [
        f"{setting.protocol_label} · {setting.split} · {setting.horizon_s:g} s ahead from "
        f"{setting.history_s:g} s · {setting.samples} samples, seed {setting.seed} · metres unless "
        "said otherwise"
    ]
    movers = result.rows.movers
    for title, subset in (("all", None), ("movers", movers)):
        count = len(movers) if subset is None else int(movers.sum())
        lines += ["", *_header(f"{title} ({count})")]
        for name, scores in result.table.items():
            mark = "▸ " if name == result.predictor else "  "
            lines.append(_line(mark + name, scores.means(subset)))
    dropped = ", ".join(f"{count} {reason}" for reason, count in result.dropped.items())
    lines += ["", f"not scored: {dropped}" if dropped else "not scored: nobody"]
    lines += [f"fallback: {fallbacks(result)}"] if result.fallback.any() else []
    lines += [f"left out: {name}: {reason}" for name, reason in result.left_out.items()]
    lines += filter(None, [changed_predictions(result)])
    lines += slice_lines(result)
    lines.append(f"verdict: {verdict_of(result).sentence}")
    lines += _what_would_decide(result)
    lines += [
        f"red flag: {flag}" for flag in (train_test_leakage(result), not_scored(result)) if flag
    ]
    return "\n".join(lines)


def _what_would_decide(result: EvaluationResult) -> list[str]:
    """What the undecided criteria need, each need once."""
    needs: dict[str, list[str]] = {}
    for each in result.outcomes:
        if each.missing is not None:
            needs.setdefault(each.missing.words, []).append(each.criterion.id)
    parts = [f"{', '.join(names)}: {words}" for words, names in needs.items()]
    return _wrapped(f"would decide it: {'; '.join(parts)}") if parts else []


def slice_lines(result: EvaluationResult) -> list[str]:
    """The slices that were asked for, and the worst case of each combination of their labels."""
    if not result.slices:
        return []
    found = combinations(result.rows.labels, result.slices)
    there = [(label_words(result.slices, each), mask) for each, mask in found.items() if mask.any()]
    there.sort(key=lambda each: -result.values["top1_fde_m"][worst_row(result, each[1])])
    head = ("times", "scenes", "top-1 FDE", "cover 90 %", "worst FDE")
    lines = ["", _slice_line(f"slices: {' x '.join(result.slices)}", head)]
    lines += [_slice_line(f"  {name}", _slice_values(result, mask)) for name, mask in there]
    unknown = len(result.rows) - sum(int(mask.sum()) for _, mask in there)
    lines.append(
        f"nobody is in {len(found) - len(there)} of {len(found)} combinations; a label is unknown "
        f"for {counted(unknown, 'prediction time')}"
    )
    for name, mask in there:
        row = worst_row(result, mask)
        picture = next(each for each in result.pictures if each.row == row)
        lines += _wrapped(f"worst of {name}: {case_words(result, picture)}")
    return [*lines, ""]


def _slice_values(result: EvaluationResult, inside: NDArray[np.bool_]) -> tuple[str, ...]:
    means, count = result.means(inside), int(inside.sum())
    scenes = len(np.unique(result.rows.scene_ids[inside]))
    shown = (number(means[name].value) for name in ("top1_fde_m", "coverage_90"))
    scores = tuple(shown) if count >= MIN_ROWS else ("too few", "too few")
    worst = result.values["top1_fde_m"][worst_row(result, inside)]
    return str(count), str(scenes), *scores, number(worst)


def _slice_line(name: str, values: Sequence[str]) -> str:
    return f"{name:<65}" + "".join(f"{value:>11}" for value in values)


def _wrapped(line: str) -> list[str]:
    """A long line in several, each further one indented."""
    return textwrap.wrap(line, _WIDTH, subsequent_indent="  ", **_WHOLE_WORDS)


def _header(title: str) -> list[str]:
    pairs = ("top-1", "mean", "5 raw", "10 raw", "20 raw", "20 modes")
    units = ("ADE/FDE",) * 2 + ("minADE/FDE",) * 4
    tail = ("miss", "NLL", "energy", "cover"), ("> 2 m", "nats", "score", "90 %")
    first = _cells(title, pairs, tail[0])
    return [first, _cells("", units, tail[1])]


def _line(name: str, means: dict[str, Mean]) -> str:
    def value(key: str) -> str:
        return number(means[key].value) if key in means else UNDEFINED

    def pair(first: str, second: str) -> str:
        values = [value(first), value(second)]
        return values[0] if values == [UNDEFINED] * 2 else "/".join(values)

    pairs = [
        pair("top1_ade_m", "top1_fde_m"),
        pair("mean_ade_m", "mean_fde_m"),
        *(pair(f"min_ade_{best}_m", f"min_fde_{best}_m") for best in BEST_OF),
        pair("modes_min_ade_20_m", "modes_min_fde_20_m"),
    ]
    tail = ("miss_rate_final_2m", "kde_nll_nats", "energy_score_m", "coverage_90")
    return _cells(name, pairs, [value(key) for key in tail])


def _cells(name: str, pairs: Sequence[str], tail: Sequence[str]) -> str:
    short = name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 1] + "…"
    return (
        f"{short:<{_NAME_WIDTH}}"
        + "".join(f"{pair:>12}" for pair in pairs)
        + "".join(f"{value:>7}" for value in tail)
    ).rstrip()
