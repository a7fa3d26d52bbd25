"""What the numbers do not say."""

from __future__ import annotations

import numpy as np

from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.slices import SLICINGS, UNKNOWN
from forecast.evaluation.scoring.statistics import MIN_SCENES
from forecast.report.section import Section, Text


def limitations(result: EvaluationResult) -> Section:
    """Limitations of every such evaluation, and of these data."""
    points = [*_ALWAYS, *_of_these_data(result)]
    return Section("limitations", "Limitations", tuple(map(Text, points)), {"points": points})


_ALWAYS = (
    "Histories are annotated tracks, not a detector's: missed, late and false detections, and "
    "noise of positions, are not in these numbers.",
    "The evaluation is open-loop: nobody reacts to a car that acts on the predictions, and the "
    "ego drives as it was recorded.",
    "Pedestrians that leave the annotated area before the horizon are not scored; the counts by "
    "reason are under Data and protocol. Those that stay in view may be easier to predict.",
    "Slices and conflicts are made from the recorded future by fixed thresholds; they are no "
    "annotation by a person. Weak labels come from free text about a whole scene.",
    "Plans are braked versions of the ego's real path; steering and speeding up are not "
    "among them, and each pedestrian is weighted alone.",
    "Energy score and KDE-NLL take equally likely samples for independent draws. Samples that are "
    "spread more evenly, as this package's model draws them, make both look a little better (the "
    "energy score by 1 % on nuScenes mini, 20 samples), and coverage a little larger (by 2 points "
    "at 50 % and 1.6 points at 90 % with the model itself as the truth, 20 samples).",
    "Intervals of few scenes are a little too narrow: in simulated data those of 5 scenes hold the "
    "truth 90 % of the time, those of 20 scenes 94 %, not 95 %.",
    "Intervals speak of other scenes like these. They do not cover other cities, sensors, seasons "
    "or annotators.",
)


def _of_these_data(result: EvaluationResult) -> list[str]:
    rows, points = result.rows, []
    scenes = len(np.unique(rows.scene_ids))
    if scenes < MIN_SCENES:
        points.append(
            f"Few scenes were scored ({scenes}): no interval is given, and any difference may be "
            "chance."
        )
    unknown = [
        slicing.title for name, slicing in SLICINGS.items() if (rows.labels[name] == UNKNOWN).all()
    ]
    if unknown:
        points.append(f"Nothing is known here of: {', '.join(unknown)}.")
    conflicts = int((rows.quantities["encroachment_s"] <= 3).sum())
    if conflicts < 100:
        points.append(
            "Conflicts with the ego are few, "
            f"{conflicts} among {counted(len(rows), 'prediction time')}: too few to "
            "judge how well conflicts are predicted."
        )
    return points
