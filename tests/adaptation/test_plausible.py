"""Recordings that cannot have happened, one of each kind, and one that can."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from forecast import Scene
from forecast.adaptation.plausible import implausible
from tests.adaptation.conftest import scaled
from tests.scenes import street_scene


def changed(scene: Scene, positions_m: np.ndarray) -> Scene:
    return replace(scene, tracks=replace(scene.tracks, positions_m=positions_m.astype(np.float32)))


def swapped(scene: Scene) -> Scene:
    """Every two neighbouring frames are exchanged."""
    order = np.arange(scene.steps).reshape(-1, 2)[:, ::-1].ravel()
    tracks = scene.tracks
    valid = tracks.valid[:, order]
    return replace(
        scene, tracks=replace(tracks, positions_m=tracks.positions_m[:, order], valid=valid)
    )


def shuffled(scene: Scene) -> Scene:
    """At every second step, two people have each other's name."""
    places = scene.tracks.positions_m.copy()
    places[[0, 1], 1::2] = places[[1, 0], 1::2]
    return changed(scene, places)


def walks(*speeds_mps: list[float], kind: str = "pedestrian") -> Scene:
    """Agents 20 m apart that go east at the given speeds of each step of 0.5 s."""
    way = 0.5 * np.array(speeds_mps).cumsum(axis=1)
    places = np.stack([way, np.full_like(way, 20) * np.arange(len(way))[:, None]], axis=-1)
    return Scene.from_arrays(places, [kind] * len(way), 0.5)


def test_a_street_is_possible() -> None:
    assert implausible(street_scene()) == ""


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (swapped, "accelerations of its moving .* are above .*: labels or frames in another order"),
        (shuffled, "steps of its pedestrians and cyclists are jumps: labels of others"),
        (lambda scene: scaled(scene, 1e-3), "less than 0.25 m from another agent: .* unit"),
        (lambda scene: scaled(scene, 100), "steps of its pedestrians and cyclists are jumps"),
    ],
    ids=["frames swapped", "labels shuffled", "in kilometres", "in centimetres"],
)
def test_what_is_broken_is_found(broken: Callable[[Scene], Scene], why: str) -> None:
    assert re.search(why, implausible(broken(street_scene())))


class TestHandValues:
    def test_three_of_ten_accelerations_are_too_many(self) -> None:
        """A change of 5 m/s within 0.5 s is 10 m/s^2; of 3 m/s it is 6."""
        hard = [1, 1, 6, 1, 6, *[6] * 7]
        assert implausible(walks(hard)).startswith("30% of the accelerations")
        assert implausible(walks([1, 1, 4, 1, 4, *[4] * 7])) == ""

    def test_two_may_be_errors_of_the_annotation(self) -> None:
        assert implausible(walks([1, 1, 6, 1, *[1] * 4])) == ""

    def test_a_share_below_a_tenth_may_be_too(self) -> None:
        calm = [[1.0] * 12] * 3
        assert implausible(walks([1, 1, 6, 1, 6, *[6] * 7], *calm)) == ""

    def test_vehicles_brake_harder_than_people(self) -> None:
        """A change of 9 m/s within 0.5 s is 18 m/s^2, and of 11 m/s it is 22."""
        for change, found in ((9, False), (11, True)):
            speeds = [1, 1, 1 + change, 1, 1 + change, 1, 1, 1]
            assert bool(implausible(walks(speeds, kind="vehicle"))) == found

    def test_a_group_does_not_hide_the_other(self) -> None:
        """Many sound cars beside one person whose frames are swapped."""
        person, cars = walks([1, 9, 1, 9, 1, 9, 1, 9]), walks(*[[8.0] * 8] * 9, kind="vehicle")
        beside = cars.tracks.positions_m + np.array([0, 40])
        both = Scene.from_arrays(
            np.concatenate([person.tracks.positions_m, beside]),
            ["pedestrian", *["vehicle"] * 9],
            0.5,
        )
        assert "pedestrians and cyclists" in implausible(both)

    @pytest.mark.parametrize("dt_s", [0.5, 0.25, 0.1, 0.05])
    def test_the_noise_of_a_tracker_is_possible_at_any_step(self, dt_s: float) -> None:
        times, rng = dt_s * np.arange(round(10 / dt_s)), np.random.default_rng(0)
        places = np.zeros((6, len(times), 2))
        places[..., 0] = 1.3 * times
        places[..., 1] = 5.0 * np.arange(6)[:, None]
        noisy = places + rng.normal(0, 0.05, places.shape)
        assert implausible(Scene.from_arrays(noisy, ["pedestrian"] * 6, dt_s)) == ""

    def test_those_who_stand_shake_without_being_impossible(self) -> None:
        """Half a metre back and forth within 1 s at rest is no motion of 0.5 m/s."""
        assert implausible(walks([0.2, -0.2] * 6)) == ""

    def test_a_couple_at_one_place_among_many_is_possible(self) -> None:
        scene = walks(*[[1.0] * 8] * 6)
        places = scene.tracks.positions_m.copy()
        places[1] = places[0] + [0.1, 0]
        assert implausible(changed(scene, places)) == ""
        places[2:5] = places[0] + np.array([[[0.1, 0]], [[0, 0.1]], [[0.1, 0.1]]])
        assert implausible(changed(scene, places)).startswith("83% of its observations")

    def test_nobody_at_all_is_possible(self) -> None:
        scene = street_scene()
        assert implausible(replace(scene, tracks=scene.tracks.select(np.zeros(0, int)))) == ""
