from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation.audit.guarantees import CHECKS, audit
from forecast.models.baselines import ConstantVelocity, Kalman, Stationary
from forecast.scene import ModeSet, Prediction, Tubes

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


class Whispers(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """The modes alone know how many frames follow."""
        return with_modes(prediction, float(scene.steps - at))


class Covers(Faulty):
    def changed(self, prediction, scene, at, arguments):
        """Modes without a fault: each goes on by another share of the way."""
        return with_modes(prediction, 0.1)


def with_modes(prediction: Prediction, spread: float) -> Prediction:
    paths = prediction.most_probable()
    share = 1 + spread * np.arange(5, dtype=np.float32)[:, None, None]
    start = paths[:, None, :1]
    modes = ModeSet(start + share * (paths[:, None] - start), np.full((len(paths), 5), 0.2))
    return replace(prediction, mode_sets=(modes,))


@pytest.mark.parametrize("predictor", [Stationary(), ConstantVelocity(), Kalman(), Covers()])
def test_the_baselines_keep_all_guarantees(store, predictor):
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
        (Whispers(), {"cut"}),
    ],
)
def test_faults_are_found_by_what_they_break(store, predictor, broken):
    found = held(store, predictor)
    assert {name for name, fine in found.items() if fine is False} == broken
