"""Tubes that adapt within a drive: hand values, and the same through a stream."""

from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.inference import Forecaster, Frame
from forecast.inference.live_tubes import LiveTubes
from forecast.models.calibration.conformal import GROUPS, Calibration, Radii
from forecast.models.observed import ObservedTracks
from forecast.scene import Prediction, Tubes

SAME = dict.fromkeys(GROUPS, 1.0)


def seen_at(places: np.ndarray, speed_mps: float) -> ObservedTracks:
    """Pedestrians at ``[A, 2]`` after one step of 0.5 s to the east."""
    before = places - [0.5 * speed_mps, 0]
    steps = np.stack([before, places], axis=1)
    return ObservedTracks(
        steps, np.ones(steps.shape[:2], bool), np.zeros(len(places), np.int8), 0.5
    )


def standing_still(places: np.ndarray, at_s: float, steps: int = 12) -> Prediction:
    """All stay where they are; circles of 1 m hold 50 % and circles of 2 m hold 90 %."""
    agents = len(places)
    paths = np.repeat(places[:, None], steps, axis=1)
    tubes = Tubes(
        paths,
        np.broadcast_to(np.eye(2), (agents, steps, 2, 2)),
        np.broadcast_to([1.0, 2.0], (agents, steps, 2)),
        (0.5, 0.9),
        np.ones(agents, bool),
    )
    return Prediction(
        paths[None].astype(np.float32),
        np.ones(1),
        np.array([f"p{i}" for i in range(agents)]),
        np.ones(agents, bool),
        round(at_s * 1e6),
        0.5,
        np.zeros(2),
        tubes=tubes,
    )


def tracked(*places: tuple[float, float], speed_mps: float = 1.0) -> LiveTubes:
    """It has stated at time 0 that pedestrians stay at some places."""
    live, where = LiveTubes(0.5), np.array(places, float)
    live.remember(standing_still(where, 0.0), seen_at(where, speed_mps))
    return live


def check(live: LiveTubes, at_s: float, *places: tuple[float, float], kind: int = 0) -> None:
    names = np.array([f"p{i}" for i in range(len(places))])
    kinds = np.full(len(places), kind, np.int8)
    live.check(round(at_s * 1e6), names, kinds, np.array(places, float))


class TestHandValues:
    @pytest.mark.parametrize(
        ("off_m", "log"),
        [
            (0.5, 0.06 * (-0.5 - 0.1) / 2),  # inside both
            (1.5, 0.06 * (0.5 - 0.1) / 2),  # outside that of 50 %
            (2.5, 0.06 * (0.5 + 0.9) / 2),  # outside both
        ],
    )
    def test_a_truth_inside_and_outside(self, off_m, log):
        live = tracked((0, 0))
        check(live, 0.5, (off_m, 0))
        assert live.factors == pytest.approx({**SAME, "walking": np.exp(log)})

    @pytest.mark.parametrize(
        ("speed_mps", "group"), [(0.1, "standing"), (1.0, "walking"), (2.5, "fast")]
    )
    def test_each_group_has_its_factor(self, speed_mps, group):
        live = tracked((0, 0), speed_mps=speed_mps)
        check(live, 0.5, (2.5, 0))
        assert [name for name, factor in live.factors.items() if factor != 1] == [group]

    def test_people_of_one_time_count_as_one_observation(self):
        live = tracked((0, 0), (10, 0))
        check(live, 0.5, (2.5, 0), (10.5, 0))
        assert np.log(live.factors["walking"]) == pytest.approx(0.06 * (0.7 - 0.3) / 2)

    def test_a_prediction_is_checked_once_a_step_for_three_seconds(self):
        live, logs = tracked((0, 0)), []
        for tick in range(1, 41):  # frames at 10 Hz
            check(live, tick / 10, (2.5, 0))
            logs.append(round(np.log(live.factors["walking"]) / 0.042, 6))
        assert logs[:12] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
        assert logs[29:] == [6] * 11

    def test_radii_are_multiplied_and_nothing_else_changes(self):
        live, where = tracked((0, 0)), np.array([[0.0, 0.0]])
        check(live, 0.5, (2.5, 0))
        made = standing_still(where, 0.5)
        walks, stands = (live.adapted(made, seen_at(where, speed)) for speed in (1.0, 0.1))
        np.testing.assert_allclose(walks.tubes.scale, made.tubes.scale * np.exp(0.042))
        np.testing.assert_array_equal(stands.tubes.scale, made.tubes.scale)
        assert walks.positions_m is made.positions_m

    def test_nothing_changes_before_something_was_checked(self):
        live, made = LiveTubes(0.5), standing_still(np.zeros((1, 2)), 0.0)
        assert live.adapted(made, seen_at(np.zeros((1, 2)), 1.0)) is made


class TestWhatCounts:
    def test_another_kind_with_the_name_does_not(self):
        live = tracked((0, 0))
        check(live, 0.5, (2.5, 0), kind=2)
        assert live.factors == SAME

    def test_another_agent_with_the_name_does_not(self):
        live = tracked((0, 0))
        check(live, 0.5, (6.1, 0))  # 12 m/s are possible
        assert live.factors == SAME
        check(live, 1.0, (6.1, 0))
        assert live.factors != SAME

    def test_nobody_who_has_left_does(self):
        live = tracked((0, 0), (10, 0))
        check(live, 0.5, (2.5, 0))
        assert np.log(live.factors["walking"]) == pytest.approx(0.042)

    def test_frames_after_a_pause_do_not(self):
        live = tracked((0, 0))
        check(live, 3.1, (2.5, 0))
        assert live.factors == SAME

    def test_factors_are_bounded(self):
        live = LiveTubes(0.5)
        for tick in range(200):
            where = np.zeros((1, 2))
            live.remember(standing_still(where, tick / 2), seen_at(where, 1.0))
            check(live, (tick + 1) / 2, (5, 0))
        assert live.factors["walking"] == pytest.approx(np.e)

    def test_memory_is_bounded(self):
        live, where = LiveTubes(0.5), np.zeros((1, 2))
        for tick in range(300):  # predictions at 30 Hz
            check(live, tick / 30, (0, 0))
            live.remember(standing_still(where, tick / 30), seen_at(where, 1.0))
        assert len(live._stated) <= 8

    def test_tubes_that_are_half_as_wide_as_they_should_come_to_hold_their_share(self):
        """Truths are normal with a standard deviation of 2 m; the circles are for 1 m."""
        rng, live, where = np.random.default_rng(0), LiveTubes(0.5), np.zeros((20, 2))
        radii, inside = np.sqrt(-2 * np.log1p(-np.array([0.5, 0.9]))), []
        seen = seen_at(where, 1.0)
        for tick in range(400):
            made = standing_still(where, tick / 2)
            scale = np.broadcast_to(radii, made.tubes.scale.shape)
            made = live.adapted(replace(made, tubes=replace(made.tubes, scale=scale)), seen)
            live.remember(made, seen)
            truth = rng.normal(0, 2, (20, 2))
            inside.append(made.tubes.contains(np.repeat(truth[:, None], 12, 1))[:, 0].mean(axis=0))
            check(live, (tick + 1) / 2, *truth)
        assert live.factors["walking"] == pytest.approx(2, rel=0.15)
        np.testing.assert_allclose(np.mean(inside[50:], axis=0), [0.5, 0.9], atol=0.03)


@pytest.fixture(scope="module")
def calibrated(forecaster) -> Forecaster:
    """Tubes so narrow that everybody leaves them."""
    times_s = [0.5 * step for step in range(1, 13)]
    radii = Radii([200] * 12, [[1e-3, 2e-3]] * 12, pooled=False)
    fitted = Calibration(
        10, times_s, [0.5, 0.9], dict.fromkeys(GROUPS, radii), radii, 5, [], [0.5, 0.9]
    )
    training = replace(forecaster.training, calibration=fitted)
    return Forecaster(forecaster.model, training, "narrow")


def walkers(tick: int, off_m: float = 0.0) -> Frame:
    places = [[0.7 * tick + off_m, 0.0], [5.0, 3 - 0.6 * tick], [6.0 * tick, -5.0]]
    kinds = ["pedestrian", "pedestrian", "vehicle"]
    return Frame(tick * 500_000, ["a", "b", "car"], kinds, places)


def predictions(forecaster: Forecaster, frames: list[Frame], **options) -> list[Prediction]:
    stream, made = forecaster.stream(**options), []
    for frame in frames:
        stream.observe(frame)
        made.append(stream.predict(samples=10))
    return made


class TestStream:
    def test_only_the_tubes_differ_and_only_once_something_was_checked(self, calibrated):
        frames = [walkers(tick) for tick in range(6)]
        plain = predictions(calibrated, frames)
        adapted = predictions(calibrated, frames, adapt=True)
        for tick, (one, other) in enumerate(zip(plain, adapted, strict=True)):
            np.testing.assert_array_equal(one.positions_m, other.positions_m)
            np.testing.assert_array_equal(one.mode_m, other.mode_m)
            ratio = other.tubes.scale / one.tubes.scale
            # At the first frame, nobody has a speed. So group "new" is checked from the second on,
            # and those who walk from the third on.
            assert (ratio[:2] > 1).all() if tick >= 2 else (ratio == 1).all()
            assert (ratio[2] == 1).all()  # of the car, nothing is checked

    def test_a_stream_says_its_factors(self, calibrated):
        stream = calibrated.stream(adapt=True)
        assert stream.tube_factors == SAME
        for tick in range(3):
            stream.observe(walkers(tick))
            stream.predict(samples=10)
        # Two predictions were checked at 0.5 s, one of them also at 1 s; all were missed.
        assert np.log(stream.tube_factors["new"]) == pytest.approx(2 * 0.06 * 0.7)
        assert np.log(stream.tube_factors["walking"]) == pytest.approx(0.06 * 0.7)
        assert calibrated.stream().tube_factors == {}

    def test_what_comes_later_changes_nothing_before(self, calibrated):
        same = [walkers(tick) for tick in range(4)]
        one = predictions(calibrated, [*same, walkers(4)], adapt=True)
        other = predictions(calibrated, [*same, walkers(4, off_m=2.0)], adapt=True)
        for before, after in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(before.tubes.scale, after.tubes.scale)

    def test_a_late_frame_checks_nothing(self, calibrated):
        stream = calibrated.stream(adapt=True)
        stream.observe(walkers(0))
        stream.predict(samples=10)
        stream.observe(walkers(2))
        before = stream.tube_factors
        stream.observe(walkers(1))
        assert stream.tube_factors == before != SAME

    def test_what_was_predicted_for_a_plan_is_not_checked(self, calibrated):
        stream = calibrated.stream(adapt=True)
        for tick in range(4):
            places = [[0.7 * tick, 9.0], [3.0 * tick, 0.0]]
            frame = Frame(tick * 500_000, ["a", "ego"], ["pedestrian", "ego"], places)
            stream.observe(frame)
            poses = np.zeros((12, 3))
            poses[:, 0] = 3 * (tick + np.arange(1, 13))
            stream.predict(samples=10, ego_plan=poses)
        assert stream.tube_factors == SAME

    def test_weights_without_tubes_cannot_adapt(self, forecaster):
        with pytest.raises(ForecastError, match="have no tubes that could adapt; calibrate them"):
            forecaster.stream(adapt=True)
