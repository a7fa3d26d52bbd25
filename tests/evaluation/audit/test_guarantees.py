from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.windows import WindowSpec
from forecast.evaluation.audit.command import run_audit, table
from forecast.evaluation.audit.guarantees import CHECKS, audit
from forecast.models.baselines import ConstantVelocity, Kalman, Stationary
from forecast.scene import Tubes
from tests.evaluation.prediction_file.test_reader import written

SPEC = WindowSpec(history_steps=5, horizon_steps=4)
VAL = ["street-3", "street-4"]
NAMES = [guarantee.id for guarantee, _ in CHECKS]


def held(store, predictor) -> dict[str, bool | None]:
    findings = audit(predictor, store, VAL, SPEC, windows=4)
    return {finding.guarantee.id: finding.held for finding in findings}


class Faulty(ConstantVelocity):
    """Constant velocity with a fault: each changes what its first guarantee is about."""

    def changed(self, prediction, scene, at, arguments):
        raise NotImplementedError

    def predict(self, scene, at, **arguments):
        prediction = super().predict(scene, at, **arguments)
        return self.changed(prediction, scene, at, arguments)


class Leaks(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """A central difference: the next frame, if it is there."""
        after = min(at + 1, scene.steps - 1)
        agents = scene.present(at)
        step = scene.tracks.positions_m[agents, after] - scene.tracks.positions_m[agents, at - 1]
        return replace(prediction, positions_m=prediction.positions_m + step[:, None] / 2)


class Forgets(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """Ignores the seed."""
        noise = np.random.default_rng().normal(0, 0.1, prediction.positions_m.shape)
        return replace(prediction, positions_m=(prediction.positions_m + noise).astype(np.float32))


class Counts(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """The first agent is special: it stops."""
        futures = prediction.positions_m.copy()
        futures[:, 0] = futures[:, 0, :1]
        return replace(prediction, positions_m=futures)


class Compass(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """Everybody drifts to the east."""
        return replace(prediction, positions_m=prediction.positions_m + np.float32([1, 0]))


class Demands(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """Wants two frames."""
        if at < 1:
            raise ValueError("two frames\nare needed")
        return prediction


class Foresees(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """Knows the end of the ego's plan from the start."""
        plan = arguments.get("ego_plan")
        shift = np.float32(0) if plan is None else plan[-1, :2].astype(np.float32)
        return replace(prediction, positions_m=prediction.positions_m + shift)


class Hints(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """The tubes alone know how many frames follow."""
        paths = prediction.most_probable().astype(float)
        shapes = np.broadcast_to((1.0 + scene.steps - at) * np.eye(2), (*paths.shape[:2], 2, 2))
        scales = np.ones((*paths.shape[:2], 1))
        tubes = Tubes(paths, shapes, scales, (0.9,), prediction.valid)
        return replace(prediction, tubes=tubes)


@pytest.mark.parametrize("predictor", [Stationary(), ConstantVelocity(), Kalman()])
def test_the_floors_keep_all_guarantees(store, predictor):
    found = held(store, predictor)
    assert list(found) == NAMES
    assert False not in found.values()
    assert found["future"] is found["plan"] is found["order"] is found["frame"] is True


@pytest.mark.parametrize(
    ("predictor", "broken"),
    [
        (Leaks(), {"future", "cut"}),
        (Forgets(), {"future", "cut", "repeat", "plan", "order", "frame", "older", "placebo"}),
        (Counts(), {"order"}),
        (Compass(), {"frame"}),
        (Demands(), {"history"}),
        (Foresees(), {"plan"}),
        (Hints(), {"cut"}),
    ],
)
def test_faults_are_found_by_what_they_break(store, predictor, broken):
    found = held(store, predictor)
    assert {name for name, fine in found.items() if fine is False} == broken


def test_the_table_says_by_how_much_and_where(store):
    findings = audit(Demands(), store, VAL, SPEC, windows=4)
    (line,) = (line for line in table(findings).splitlines() if "BROKEN" in line)
    assert "no answer, street-3 step" in line
    assert line.endswith("two frames are needed")
    leak = table(audit(Leaks(), store, VAL, SPEC, windows=2)).splitlines()[0]
    assert leak.startswith("BROKEN     required  future")
    assert " m off, street-3 step " in leak


def make() -> Kalman:
    """A third party's predictor, by the name of a function."""
    return Kalman()


def test_the_command_takes_anybodys_predictor(store, capsys):
    words = {"store": store.path, "split": "val", "windows": 2, "seed": 0}
    run_audit(predictor="tests.evaluation.audit.test_guarantees:make", **words)
    said = capsys.readouterr().out
    assert said.startswith(f"kalman on {store.path}, val\nholds      required  future")
    with pytest.raises(ForecastError, match="leaks: required guarantees do not hold: future, cut"):
        run_audit(predictor="tests.evaluation.audit.test_guarantees:Leaky", **words)


class Leaky(Leaks):
    name = "leaks"


@pytest.mark.parametrize(
    ("predictor", "message"),
    [
        ("tests.nowhere:Model", "cannot be imported: No module named 'tests.nowhere'"),
        ("tests.scenes:Model", "cannot be imported: module 'tests.scenes' has no attribute"),
        ("tests.scenes:street_scene", "has no predict"),
        ("lstm", "predictor 'lstm' is unknown"),
    ],
)
def test_what_is_no_predictor_is_one_line(store, predictor, message):
    with pytest.raises(ForecastError, match=message):
        run_audit(predictor=predictor, store=store.path, split="val", windows=2, seed=0)


def test_a_file_cannot_be_audited(store, tmp_path):
    path = str(written(store, tmp_path))
    with pytest.raises(ForecastError, match="a file cannot be asked again"):
        run_audit(predictor=path, store=store.path, split="val", windows=2, seed=0)
