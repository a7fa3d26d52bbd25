from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.models.baselines import Kalman
from forecast.visualization.film.film import Question, imagined_film, shown
from tests.scenes import street_scene
from tests.visualization.film.films import ASKED, imagined, recorded


def test_a_recording_gets_a_prediction_every_half_second_from_the_last_one_before_the_start():
    film = recorded(start_s=2.2, stop_s=4.0)
    times = [each.at_us for each in film.panels[0].predictions]
    assert times == [2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000]
    assert (film.start_us, film.stop_us, film.duration_s) == (2_200_000, 4_000_000, 1.8)
    assert film.panels[0].predictions[0].samples == film.samples == 4
    assert not film.is_imagined


def test_a_finer_recording_is_not_predicted_at_every_step():
    film = recorded(street_scene(dt_s=0.1, steps=60))
    times = np.diff([each.at_us for each in film.panels[0].predictions])
    np.testing.assert_array_equal(times, 500_000)


def test_steps_between_two_records_get_no_prediction():
    scene = street_scene()
    scene = replace(scene, interpolated=np.arange(scene.steps) % 2 == 1)
    times = [each.at_us for each in recorded(scene).panels[0].predictions]
    assert times == [2_000_000, 3_000_000, 4_000_000]


@pytest.mark.parametrize(
    ("start_s", "stop_s", "message"),
    [
        (2.0, 99.0, "street: to is 99 s; 0 to 11.5 s is needed"),
        (-1.0, 3.0, "street: from is -1 s; 0 to 11.5 s is needed"),
        (3.0, 3.0, "street: from is 3 s; a time before 3 s is needed"),
    ],
)
def test_times_outside_of_the_recording_are_refused(start_s, stop_s, message):
    with pytest.raises(ForecastError, match=message):
        recorded(start_s=start_s, stop_s=stop_s)


def test_an_imagined_film_moves_agents_as_the_most_probable_future_does():
    film = imagined()
    (panel,) = film.panels
    (made,) = panel.predictions
    scene, tracks = film.scene, panel.scene.tracks
    assert (film.start_us, film.stop_us, film.is_imagined) == (5_000_000, 8_000_000, True)
    np.testing.assert_array_equal(tracks.positions_m[:, :11], scene.tracks.positions_m[:, :11])
    rows = [scene.tracks.agent_ids.tolist().index(name) for name in made.agent_ids]
    np.testing.assert_array_equal(tracks.positions_m[rows, 11:], made.most_probable())
    cone = np.flatnonzero(tracks.kinds == AgentKind.STATIC)
    assert tracks.valid[cone].all()
    np.testing.assert_array_equal(
        tracks.positions_m[cone, 11:], np.repeat(tracks.positions_m[cone, 10:11], 6, axis=1)
    )
    np.testing.assert_array_equal(np.diff(panel.scene.timestamps_us), 500_000)
    assert panel.is_true
    assert panel.plan is None


def test_the_ego_drives_its_plan_and_the_truth_is_not_that_of_another_plan():
    film = imagined("brake", "recorded")
    assert [panel.title for panel in film.panels] == [
        "The car brakes",
        "The car drives as recorded",
    ]
    assert [panel.is_true for panel in film.panels] == [False, True]
    for panel in film.panels:
        (ego,) = np.flatnonzero(panel.scene.tracks.kinds == AgentKind.EGO)
        np.testing.assert_allclose(
            panel.scene.tracks.positions_m[ego, 11:], panel.plan[:, :2], atol=1e-5
        )
        np.testing.assert_allclose(
            panel.scene.tracks.headings_rad[ego, 11:], panel.plan[:, 2], atol=1e-5
        )


def test_the_effect_is_the_mean_distance_of_the_same_samples():
    film = imagined("brake", "keep")
    assert film.effect_m()[1] == 0.0  # a Kalman filter does not react to plans
    other = film.panels[1].predictions[0]
    moved = other.positions_m.copy()
    (person,) = np.flatnonzero(other.agent_ids == "1")
    moved[:2, person, -1] += [3.0, 4.0]  # 5 m in 2 of 4 samples
    changed = replace(film.panels[1], predictions=(replace(other, positions_m=moved),))
    film = replace(film, panels=(film.panels[0], changed))
    assert film.effect_m() == ("1", pytest.approx(2.5))
    assert recorded().effect_m() is None


def test_people_are_shown_and_without_people_everybody():
    scene = street_scene()
    made = Kalman().predict(scene, 10)
    assert made.agent_ids[shown(scene, made)].tolist() == ["0", "1", "2"]
    cars = replace(scene, tracks=scene.tracks.select(scene.tracks.kinds >= AgentKind.VEHICLE))
    made = Kalman().predict(cars, 10)
    assert made.agent_ids[shown(cars, made)].tolist() == ["4", "5"]


def test_a_prediction_in_another_frame_is_moved():
    class Elsewhere(Kalman):
        def predict(self, *args, **kwargs):
            made = super().predict(*args, **kwargs)
            return replace(
                made,
                origin_m=made.origin_m + np.array([100, 0]),
                positions_m=made.positions_m - np.float32([100, 0]),
                mode_m=None if made.mode_m is None else made.mode_m - np.float32([100, 0]),
                now_m=made.now_m - np.float32([100, 0]),
            )

    scene = street_scene()
    film = imagined_film(Elsewhere(), "x", scene, 5.0, ASKED)
    expected = imagined().panels[0].predictions[0]
    for name in ("positions_m", "now_m"):
        found = getattr(film.panels[0].predictions[0], name)
        np.testing.assert_allclose(found, getattr(expected, name), atol=1e-4)


def test_a_predictor_that_returns_something_else_is_refused():
    class Wrong:
        name = "wrong"

        def predict(self, scene, at, **options):
            return None

    with pytest.raises(ForecastError, match="returned is NoneType; a Prediction is needed"):
        imagined_film(Wrong(), "wrong", street_scene(), 5.0, Question())


def test_a_time_outside_is_refused():
    with pytest.raises(ForecastError, match=r"street: at is 20 s; a time from 0 to 11.5 s"):
        imagined(at_s=20.0)
