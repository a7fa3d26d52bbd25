"""Two evaluations of the same windows, one good and one bad, to be compared."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from forecast.datasets.store import prepare
from forecast.evaluation import EvaluationConfig, run_evaluation
from forecast.models.baselines import ConstantVelocity
from forecast.report import render
from tests.scenes import street_scene
from tests.streets import StreetSource

CRITERIA = """minimum_rows: 10
minimum_scenes: 5
criteria:
  - {id: reach, condition: any, metric: top1_fde_m, at_most: 1.0, horizon_s: 2}
  - {id: never, condition: any, metric: top1_fde_m, at_most: 0.0001}
"""


@dataclass(frozen=True)
class Off:
    """The truth's constant velocity, off by some metres for some people."""

    off_m: float = 0.0
    name: str = "off"

    def predict(self, scene, at, **arguments):
        prediction = ConstantVelocity().predict(scene, at, **arguments)
        return replace(prediction, positions_m=prediction.positions_m + np.float32(self.off_m))


good = Off()
bad = Off(3.0, "bad")


class Many(StreetSource):
    """Six short streets to score."""

    def scene_names(self):
        return [f"street-{number}" for number in range(7)]

    def splits(self):
        return {"train": self.scene_names()[:1], "val": self.scene_names()[1:]}

    def read(self, name):
        return replace(street_scene(seed=int(name[-1]), steps=12), id=name), {}


def evaluate_both(base: Path) -> Path:
    """Puts ``good`` and ``bad`` into a folder."""
    store = prepare(Many(), base / "store")
    (base / "ours.yaml").write_text(CRITERIA)
    for name in ("good", "bad"):
        predictor = f"tests.comparisons:{name}"
        config = EvaluationConfig(store.path, "val", predictor, samples=2, horizon_s=2.0)
        run_evaluation(config, base / name, render=render, acceptance=base / "ours.yaml")
    return base
