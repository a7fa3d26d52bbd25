import json
from dataclasses import asdict, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast import ForecastError
from forecast.models.calibration.conformal import (
    GROUPS,
    LEVELS,
    MIN_WINDOWS,
    Calibration,
    CalibrationScores,
    Radii,
    conformal_quantiles,
    ellipses,
    fit_tubes,
    groups_of,
)
from forecast.models.observed import ObservedTracks
from forecast.scene import AgentKind

TIMES_S = [0.5, 1.0]


def walkers(speeds_mps, kind: AgentKind = AgentKind.PEDESTRIAN) -> ObservedTracks:
    """Agents seen for two steps along x, now at the origin; NaN: seen for one step alone."""
    speeds = np.asarray(speeds_mps, float)
    positions = np.zeros((len(speeds), 2, 2))
    positions[:, 0, 0] = -0.5 * speeds
    valid = np.stack([~np.isnan(speeds), np.ones(len(speeds), bool)], axis=1)
    return ObservedTracks(positions, valid, np.full(len(speeds), kind, np.int8), dt_s=0.5)


def scores_of(distance, group=2, scene="a", ood=False) -> CalibrationScores:
    """Scores with the same group, scene and OOD mask for every window, unless they are lists."""
    rows = len(distance)
    distance = np.asarray(distance, float)
    return CalibrationScores(
        distance,
        10 * distance,
        np.broadcast_to(group, rows),
        np.broadcast_to(scene, rows),
        np.broadcast_to(ood, rows),
    )


def drawn(rng, windows: int, spread_m: float, samples: int = 20):
    """Samples and truths ``[K, N, 2, 2]`` and ``[N, 2, 2]`` from one distribution."""
    draws = rng.normal(size=(samples + 1, windows, 2, 2)) * spread_m
    return draws[1:].astype(np.float32), draws[0]


class TestQuantiles:
    def test_by_hand(self):
        scores = np.arange(1.0, 20)[:, None]  # 19 scores: the rank is 20 times the level
        np.testing.assert_array_equal(
            conformal_quantiles(scores, LEVELS), [[10.0, 16.0, 18.0, 19.0]]
        )

    def test_what_is_not_known_does_not_count(self):
        scores = np.arange(1.0, 40)[:, None].repeat(2, axis=1)
        scores[19:, 1] = np.nan
        found = conformal_quantiles(scores, LEVELS)
        assert found[1].tolist() == [10, 16, 18, 19]
        assert found[0].tolist() == [20, 32, 36, 38]

    def test_too_few_are_refused(self):
        with pytest.raises(
            ForecastError, match=r"calibration windows is 18; at least 19 at every step, .* 0.95"
        ):
            conformal_quantiles(np.zeros((18, 2)), LEVELS)

    @given(st.integers(19, 60), st.integers(0, 2**32 - 1))
    def test_holds_as_much_as_it_promises_at_any_size(self, count, seed):
        """Over all choices of the new score among n + 1: exact, so no chance decides."""
        scores = np.random.default_rng(seed).permutation(count + 1).astype(float)
        inside = np.array(
            [
                scores[i] <= conformal_quantiles(np.delete(scores, i)[:, None], LEVELS)[0]
                for i in range(count + 1)
            ]
        ).mean(axis=0)
        assert (inside >= np.array(LEVELS) - 1e-12).all()
        assert (inside <= np.array(LEVELS) + 1 / (count + 1) + 1e-12).all()


class TestFit:
    def test_coverage_of_new_windows_by_simulation(self):
        rng = np.random.default_rng(0)
        seen = walkers(np.full(3000, 1.2))
        draws, truth = drawn(rng, 3000, spread_m=2.0)
        found = fit_tubes(CalibrationScores.of(draws, seen, truth, "a"), TIMES_S, samples=20)
        draws, truth = drawn(rng, 3000, spread_m=2.0)
        inside = found.tubes(draws, seen).contains(truth)
        np.testing.assert_allclose(inside.mean(axis=(0, 1)), LEVELS, atol=0.02)

    def test_a_model_too_sure_of_itself_is_put_right(self):
        rng = np.random.default_rng(1)
        seen = walkers(np.full(2000, 1.2))
        draws, truth = drawn(rng, 2000, spread_m=1.0)
        found = fit_tubes(CalibrationScores.of(draws, seen, 3 * truth, "a"), TIMES_S, samples=20)
        draws, truth = drawn(rng, 2000, spread_m=1.0)
        inside = found.tubes(draws, seen).contains(3 * truth)
        np.testing.assert_allclose(inside.mean(axis=(0, 1)), LEVELS, atol=0.03)

    def test_groups_get_radii_of_their_own_and_small_ones_the_pooled(self):
        counts = {"new": 1, "standing": MIN_WINDOWS, "walking": MIN_WINDOWS, "fast": 99}
        groups = np.repeat(np.arange(4), list(counts.values()))
        found = fit_tubes(scores_of((1.0 + groups)[:, None].repeat(2, axis=1), groups), TIMES_S, 20)
        assert [radii.pooled for radii in found.groups.values()] == [True, False, False, True]
        assert found.groups["standing"].scale == [[2.0] * 4] * 2
        assert found.groups["walking"].windows == [MIN_WINDOWS] * 2
        assert found.groups["fast"] == found.groups["new"]
        assert found.groups["fast"].windows == [300, 300]

    def test_ood_pedestrians_count_for_constant_velocity_only(self):
        ood = np.arange(200) >= 150
        found = fit_tubes(
            scores_of(np.where(ood, 9.0, 1.0)[:, None].repeat(2, 1), ood=ood), TIMES_S, 20
        )
        assert found.groups["walking"].windows == [150, 150]
        assert found.groups["walking"].scale == [[1.0] * 4] * 2
        assert found.constant_velocity.windows == [200, 200]
        assert found.constant_velocity.scale == [[10.0, 90.0, 90.0, 90.0]] * 2

    def test_unequal_scenes_raise_the_levels_tubes_are_made_at(self):
        rng = np.random.default_rng(2)
        scenes, each = 40, 100
        spread = np.repeat(rng.uniform(0.2, 3, scenes), each)
        names = np.repeat([f"{i}" for i in range(scenes)], each)
        distance = np.abs(rng.normal(size=(scenes * each, 2))) * spread[:, None]
        unequal = fit_tubes(scores_of(distance, scene=names), TIMES_S, 20)
        alike = fit_tubes(scores_of(distance, scene=rng.permutation(names)), TIMES_S, 20)
        assert unequal.scenes == 40
        assert unequal.across_scenes[2] < alike.across_scenes[2]
        np.testing.assert_allclose(alike.made_at, LEVELS, atol=0.006)
        assert all(made >= level for made, level in zip(unequal.made_at, LEVELS, strict=True))
        assert unequal.made_at[2] > 0.9

    def test_left_out_scenes_are_held_as_often_as_stated(self):
        """Three scenes with errors of 1, 2 and 3: the others' tubes hold the first two alone."""
        names = np.repeat(["a", "b", "c"], 200)
        distance = np.repeat([1.0, 2.0, 3.0], 200)[:, None]
        found = fit_tubes(scores_of(distance, scene=names), [0.5], 20)
        assert found.across_scenes == pytest.approx([2 / 3] * 4, abs=1e-4)
        assert found.made_at == [0.5, 0.99, 0.99, 0.99]

    def test_a_single_scene_or_few_windows_leave_the_levels(self):
        one = fit_tubes(scores_of(np.ones((300, 2))), TIMES_S, 20)
        few = fit_tubes(scores_of(np.ones((30, 2)), scene=np.repeat(["a", "b"], 15)), TIMES_S, 20)
        for found in (one, few):
            assert found.across_scenes == []
            assert found.made_at == list(LEVELS)


class TestTubes:
    @pytest.fixture
    def calibration(self) -> Calibration:
        """Radii of 1 to 4 by group at 0.5 s and ten times that at 1 s; times 2 at 90 %."""
        groups = {
            name: Radii([100, 100], [[i, 2.0 * i], [10.0 * i, 20.0 * i]], False)
            for i, name in enumerate(GROUPS, start=1)
        }
        alone = Radii([100, 100], [[5.0, 6.0], [7.0, 8.0]], True)
        return Calibration(4, TIMES_S, [0.5, 0.9], groups, alone, 1, [], [0.5, 0.9])

    def test_groups_by_speed(self):
        found = groups_of(walkers([np.nan, 0.0, 0.29, 0.3, 1.79, 1.8]))
        assert [GROUPS[i] for i in found] == [
            *("new", "standing", "standing", "walking", "walking", "fast")
        ]

    def test_radii_are_those_of_the_group(self, calibration):
        seen = walkers([np.nan, 0.0, 1.2, 2.5])
        tubes = calibration.tubes(np.zeros((4, 4, 2, 2), np.float32), seen)
        assert tubes.scale[:, 0].tolist() == [[1, 2], [2, 4], [3, 6], [4, 8]]
        assert tubes.scale[0, 1].tolist() == [10, 20]

    def test_times_between_are_interpolated_and_earlier_ones_take_the_first(self, calibration):
        seen = replace(walkers([1.2]), dt_s=0.4)  # 3 m/s * 0.4 / 0.5: still walking
        tubes = calibration.tubes(np.zeros((4, 1, 2, 2), np.float32), seen)
        np.testing.assert_allclose(tubes.scale[0, :, 0], [3.0, 3 + 27 * 0.3 / 0.5])

    def test_times_beyond_are_refused(self, calibration):
        with pytest.raises(ForecastError, match=r"horizon_s is 1.5; at most 1 s, as far as"):
            calibration.tubes(np.zeros((4, 1, 3, 2), np.float32), walkers([1.2]))

    def test_steps_of_recorded_data_need_not_be_exact(self, calibration):
        seen = replace(walkers([1.2]), dt_s=0.5005)  # 1.001 s for the calibrated 1 s
        tubes = calibration.tubes(np.zeros((4, 1, 2, 2), np.float32), seen)
        assert (
            tubes.scale[0, 1].tolist()
            == calibration.tubes(np.zeros((4, 1, 2, 2), np.float32), walkers([1.2]))
            .scale[0, 1]
            .tolist()
        )

    def test_too_few_samples_are_refused_and_more_change_nothing(self, calibration):
        draws = np.random.default_rng(0).normal(size=(9, 1, 2, 2)).astype(np.float32)
        with pytest.raises(ForecastError, match="samples is 3; 4 for the tubes is needed"):
            calibration.tubes(draws[:3], walkers([1.2]))
        four, nine = (calibration.tubes(draws[:k], walkers([1.2])) for k in (4, 9))
        np.testing.assert_array_equal(four.shape_m2, nine.shape_m2)

    def test_tubes_are_for_pedestrians(self, calibration):
        draws = np.zeros((4, 1, 2, 2), np.float32)
        assert not calibration.tubes(draws, walkers([5.0], AgentKind.VEHICLE)).valid.any()

    def test_ood_pedestrians_get_circles_around_constant_velocity(self, calibration):
        seen = walkers([1.0, 1.0])
        draws = np.full((4, 2, 2, 2), 50, np.float32)
        tubes = calibration.tubes(draws, seen, ood=np.array([False, True]))
        np.testing.assert_allclose(tubes.centre_m[:, 1], [[50, 50], [1.0, 0]])
        np.testing.assert_allclose(tubes.area_m2()[1, 1], np.pi * np.array([49, 64]))

    def test_spread_samples_make_larger_tubes_along_the_spread(self, calibration):
        draws = np.zeros((4, 2, 2, 2), np.float32)
        draws[:, 1, :, 0] = np.array([-3, -1, 1, 3])[:, None]
        tubes = calibration.tubes(draws, walkers([1.2, 1.2]))
        small, large = tubes.area_m2()[:, 0, 0]
        assert large > 3 * small
        ahead, aside = (np.linalg.eigvalsh(tubes.shape_m2[1, 0])[i] for i in (1, 0))
        assert ahead == pytest.approx(0.9 * 5 + 0.1 * 2.5 + 0.04)
        assert aside == pytest.approx(0.1 * 2.5 + 0.04)

    @pytest.mark.parametrize("samples", [1, 2, 20])
    def test_samples_on_a_point_or_line_still_make_an_ellipse(self, samples):
        draws = np.zeros((samples, 1, 1, 2), np.float32)
        draws[..., 0] = np.arange(samples)[:, None, None]
        _, shape = ellipses(draws)
        assert (np.linalg.eigvalsh(shape) >= 0.04 - 1e-9).all()
        _, shape = ellipses(np.zeros((samples, 1, 1, 2), np.float32))
        np.testing.assert_allclose(shape[0, 0], 0.04 * np.eye(2))

    def test_turning_the_world_turns_the_ellipses(self):
        draws = np.random.default_rng(0).normal(size=(20, 3, 2, 2)).astype(np.float32)
        turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
        centre, shape = ellipses(draws)
        turned_centre, turned_shape = ellipses((draws @ turn).astype(np.float32))
        np.testing.assert_allclose(turned_centre, centre @ turn, atol=1e-6)
        np.testing.assert_allclose(turned_shape, turn.T @ shape @ turn, atol=1e-6)

    def test_goes_through_json_unchanged(self, calibration):
        text = json.dumps(asdict(calibration))
        assert msgspec.convert(json.loads(text), Calibration) == calibration

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"groups": {}}, "groups is "),
            ({"times_s": [1.0, 0.5]}, "times_s is .*; a rising list of seconds is needed"),
            ({"times_s": [1.0]}, r"new: number of radii is \[2, 2\]; one per time and level"),
            ({"samples": 0}, "samples is 0; at least 1 is needed"),
            ({"constant_velocity": Radii([], [], True)}, r"constant_velocity: number of radii"),
        ],
    )
    def test_parts_that_do_not_fit_are_refused(self, calibration, change, message):
        with pytest.raises(ForecastError, match=message):
            replace(calibration, **change)
