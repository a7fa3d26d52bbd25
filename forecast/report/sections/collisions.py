"""Whether predicted people collide with each other or with the ego, and walk on the road."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.output.numbers import UNDEFINED, interval, number, signed
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH, GROUND_TRUTH_METRICS
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.report.section import Cell, Section, Table

_WORDS = {
    "collision_rate_pedestrians": "comes within 0.2 m of another pedestrian of the same future",
    "collision_rate_ego": "is touched by the ego on its real path",
    "on_road_share": "share of the way on the road, off crosswalks and walkways",
}


def collisions(result: EvaluationResult) -> Section:
    """Rates of every predictor beside the ground truth's."""
    groups = {"all": np.ones(len(result.rows), bool), "movers": result.rows.movers}
    excess = {
        name: {group: _excess(scores, inside) for group, inside in groups.items()}
        for name, scores in result.table.items()
    }
    rows = tuple(
        (
            Cell(f"{metric}, {group}", _WORDS[metric]),
            *(
                _cell(scores.means(inside)[metric].value, excess[name][group][metric])
                for name, scores in result.table.items()
            ),
            Cell(number(result.ground_truth_means(inside)[metric].value)),
        )
        for metric in GROUND_TRUTH_METRICS
        for group, inside in groups.items()
    )
    caption = (
        "How probable it is that a predicted pedestrian collides, and how much of the way is on "
        "the road; below each rate how much it exceeds that of the recorded world, paired by "
        "prediction time, with its 95 % interval. Good is as in the last column: people do not "
        "walk through each other or into cars, and a predictor of such collisions models "
        "avoidance wrongly."
    )
    table = Table(caption, ("", *result.table, GROUND_TRUTH), rows)
    return Section("collisions", "Collisions", (table,), {"excess": excess})


def _excess(scores: EvaluationResult, inside: NDArray[np.bool_]) -> Mapping[str, Estimate]:
    """Rates minus the ground truth's, row by row."""
    pairs = {name: scores.values[name] - scores.ground_truth[name] for name in GROUND_TRUTH_METRICS}
    return scene_means(pairs, scores.rows.scene_ids, inside)


def _cell(rate: float, excess: Estimate) -> Cell:
    if excess.n == 0:
        return Cell(UNDEFINED)
    ends = interval(excess, signed=True)
    return Cell(number(rate), f"{signed(excess.value)} ({ends})" if ends else signed(excess.value))
