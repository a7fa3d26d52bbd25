"""Who was scored, who was not, and why."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.source import MENDED
from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.rows import MOVER_DISPLACEMENT_M
from forecast.report.section import Cell, Facts, Folded, Section, Table, Text
from forecast.report.sections.gallery import worst_picture

_MOST_SCENES = 12
"""Longer lists of scenes are folded."""

_REASONS = {
    "history_too_short": "not seen in enough consecutive steps up to the prediction time",
    "future_incomplete": "not seen in every step up to the horizon",
}


def protocol(result: EvaluationResult) -> Section:
    """Data, rules and counts."""
    setting, rows = result.setting, result.rows
    rules = Text(
        "A prediction time is a step at which the future of a pedestrian is predicted; every "
        "pedestrian counts on its own. Movers are displaced by more than "
        f"{MOVER_DISPLACEMENT_M:g} m over the horizon. Predictors get the last "
        f"{setting.history_s:g} s of a scene and no later step."
    )
    facts = (
        ("Protocol", setting.protocol_label),
        ("Step length", f"{setting.dt_s:g} s"),
        ("Samples", f"{setting.samples}, seed {setting.seed}"),
        ("Pedestrians", str(len(set(zip(rows.scene_ids, rows.agent_ids, strict=True))))),
    )
    scenes = _prediction_times(result, rows.scene_ids, "scene")
    blocks = (
        rules,
        Facts(facts),
        _prediction_times(result, rows.categories, "category"),
        scenes if len(scenes.rows) <= _MOST_SCENES else _folded(scenes),
        _dropped(result),
        *_prepared(result),
        *_failed(result),
    )
    data = {
        "setting": asdict(setting),
        "origins": len(rows),
        "movers": int(rows.movers.sum()),
        "dropped": dict(result.dropped),
        "prepared": dict(result.prepared),
        "failed_scenes": dict(result.failed),
    }
    return Section("protocol", "Data and protocol", blocks, data)


def _prediction_times(result: EvaluationResult, column: NDArray[np.str_], what: str) -> Table:
    lines = [_counts(result, "all", np.ones(len(column), bool))]
    lines += [_counts(result, str(name), column == name) for name in np.unique(column)]
    caption = f"Prediction times by {what}. Good is many: a mean over few says little."
    return Table(caption, (what, "prediction times", "movers"), tuple(lines))


def _folded(table: Table) -> Folded:
    """A long table as text."""
    lines = (
        f"{row[0].text}: {counted(int(row[1].text), 'prediction time')}, "
        f"{counted(int(row[2].text), 'mover')}"
        for row in table.rows[1:]
    )
    return Folded(table.caption, "\n".join(lines))


def _counts(result: EvaluationResult, name: str, who: NDArray[np.bool_]) -> tuple[Cell, ...]:
    moving = int((who & result.rows.movers).sum())
    link = worst_picture(result, who)
    return Cell(name, link=link), Cell(str(int(who.sum()))), Cell(str(moving))


def _dropped(result: EvaluationResult) -> Table:
    rows = tuple(
        (Cell(reason, _REASONS.get(reason, "")), Cell(str(count)))
        for reason, count in result.dropped.items()
    )
    caption = (
        "Pedestrians seen at a step but not scored there. Good is few; nothing else of the store "
        "is left out."
    )
    return Table(caption, ("reason", "count"), rows)


def _prepared(result: EvaluationResult) -> tuple[Table, ...]:
    """What is not in the store as it is in the dataset."""
    if not result.prepared:
        return ()
    caption = (
        "Records of these scenes that are not in the store as the dataset has them: dropped or "
        "mended when they were prepared. Good is few."
    )
    rows = tuple(
        (Cell(reason), Cell("mended" if reason in MENDED else "dropped"), Cell(str(count)))
        for reason, count in result.prepared.items()
    )
    return (Table(caption, ("reason", "what", "count"), rows),)


def _failed(result: EvaluationResult) -> tuple[Table, ...]:
    """Scenes that could not be scored."""
    if not result.failed:
        return ()
    caption = "Scenes that were asked for and could not be scored. Good is none."
    rows = tuple((Cell(scene), Cell(why)) for scene, why in result.failed.items())
    return (Table(caption, ("scene", "reason"), rows),)
