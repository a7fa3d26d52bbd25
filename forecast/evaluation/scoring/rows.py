"""One row for every pedestrian scored at every prediction time: who, where, when, how situated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.evaluation.scoring.ground_truth import true_future
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.situation import Situation
from forecast.evaluation.scoring.slices import label
from forecast.models.metrics.criticality import planner_weight

MOVER_DISPLACEMENT_M = 1.0
"""A pedestrian displaced by more than this over the horizon is a mover."""

QUANTITIES = {
    "speed_mps": "speed of the last observed step",
    "travelled_m": "displacement over the horizon",
    "observed_steps": "consecutive observed steps up to the prediction time",
    "ego_distance_m": "distance of the ego's centre at the prediction time",
    "time_to_collision_s": "time to collision with the ego if both kept their velocity; inf: never",
    "encroachment_s": "least time between pedestrian and ego being at the same place of their real "
    "paths; inf: never",
    "planner_weight": "how much the ego's best plan costs more or less if the pedestrian's future "
    "is shifted by 1 m",
}
"""The numbers that describe the situation of a row."""

WEIGHTED = "weighted_top1_fde_m"
"""Name of the planner-weighted mean of ``top1_fde_m``: each row weighs its ``planner_weight``."""

NEGLIGIBLE = 0.01
"""Smaller planner weights do not count: the plan's cost changes by less than 1 cm per metre."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The scored pedestrians; all columns are ``[N]``.

    Attributes:
        scene_ids: Scene.
        agent_ids: Pedestrian.
        categories: The dataset's own category of the pedestrian.
        at: Index of the prediction time's step in the scene.
        at_us: Prediction time.
        frame_ids: The dataset's own name of that step (nuScenes: sample token).
        movers: Whether the pedestrian's displacement over the horizon exceeds
            `MOVER_DISPLACEMENT_M`.
        labels: Slice of each row, by the name of the slicing; see
            `forecast.evaluation.scoring.slices`.
        quantities: Numbers that describe the row's situation, by name, NaN where unknown; see
            `QUANTITIES`.
    """

    scene_ids: NDArray[np.str_]
    agent_ids: NDArray[np.str_]
    categories: NDArray[np.str_]
    at: NDArray[np.int64]
    at_us: NDArray[np.int64]
    frame_ids: NDArray[np.str_]
    movers: NDArray[np.bool_]
    labels: Mapping[str, NDArray[np.str_]]
    quantities: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, sample: EvaluationSample) -> Rows:
        """The scored pedestrians of one evaluation sample."""
        window, scene = sample.window, sample.scene
        situation = Situation(sample)
        count = len(situation)
        return cls(
            scene_ids=np.full(count, window.scene_id),
            agent_ids=window.agent_ids[window.scored],
            categories=scene.tracks.categories[situation.agents],
            at=np.full(count, window.at),
            at_us=np.full(count, window.at_us),
            frame_ids=np.full(count, scene.frame_ids[window.at]),
            movers=situation.travelled_m > MOVER_DISPLACEMENT_M,
            labels=label(situation),
            quantities=_quantities(situation),
        )

    def __len__(self) -> int:
        """Number of rows N."""
        return len(self.at)


def _quantities(situation: Situation) -> dict[str, NDArray[np.float64]]:
    """See `QUANTITIES`."""
    truth = true_future(situation.sample)
    weight = torch.full_like(truth.truth_m[:, 0, 0], torch.nan)
    if truth.ego is not None and truth.ego_size_m is not None:
        weight = planner_weight(truth.truth_m, truth.ego, truth.ego_size_m, truth.dt_s)
    return {
        "speed_mps": situation.speed_mps,
        "travelled_m": situation.travelled_m,
        "observed_steps": situation.past_steps.astype(np.float64),
        "ego_distance_m": situation.ego_distance_m,
        "time_to_collision_s": situation.time_to_collision_s,
        "encroachment_s": truth.true_encroachment_s.numpy(),
        "planner_weight": weight.numpy(),
    }


def matters_to_planner(weight: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have a ``planner_weight`` ``[N]`` that is not negligible; NaN is negligible."""
    return np.nan_to_num(weight) >= NEGLIGIBLE


def joined_rows(parts: list[Rows]) -> Rows:
    """Several sets of rows, one after the other."""
    columns: dict[str, Any] = {}
    for column in fields(Rows):
        values = [getattr(part, column.name) for part in parts]
        several = isinstance(values[0], Mapping)
        columns[column.name] = joined(values) if several else np.concatenate(values)
    return Rows(**columns)


Array = TypeVar("Array", bound=NDArray[Any])


def joined(parts: list[Mapping[str, Array]]) -> dict[str, Array]:
    """Columns of several sets of rows, one set after the other, by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
