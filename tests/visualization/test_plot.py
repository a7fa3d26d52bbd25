from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

import forecast
from forecast import ForecastError, Prediction, Scene
from forecast.models.baselines import ConstantVelocity, Kalman
from forecast.scene import AgentKind
from forecast.scene.lanes import Polygons
from forecast.visualization.birds_eye import LIGHT, MEANINGS
from tests.scenes import street_scene


def lines(axes: Axes, colour: str) -> list[np.ndarray]:
    """The lines of a colour, without dots and bars."""
    return [
        path
        for drawn in axes.collections
        if isinstance(drawn, LineCollection) and to_hex(drawn.get_colors()[0]) == colour
        for path in drawn.get_segments()
    ]


def predicted(scene: Scene, at: int = 10) -> Prediction:
    return Kalman().predict(scene, at, samples=7)


def test_one_call_draws_the_scene_and_the_prediction():
    scene = street_scene()
    prediction = predicted(scene)
    figure = forecast.plot(scene, prediction)
    (axes,) = figure.axes
    people = scene.tracks.kinds[scene.present(10)] == AgentKind.PEDESTRIAN
    samples, modes, truth = (
        lines(axes, colour) for colour in (LIGHT.sample, LIGHT.mode, LIGHT.truth)
    )
    assert len(samples) == 7 * people.sum()
    expected = prediction.positions_m[:, people].reshape(-1, 12, 2)
    np.testing.assert_allclose(np.stack(samples)[:, 1:], expected)
    np.testing.assert_allclose(np.stack(modes)[:, 1:], prediction.mode_m[people])
    np.testing.assert_allclose(truth[0], scene.tracks.positions_m[0, 10:23])
    assert axes.get_aspect() == 1
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == [
        "observed",
        "7 samples",
        "best guess",
        "ground truth",
        "carriageway",
        "walkway",
        "crosswalk",
        "vehicles and cyclists",
        "ego",
    ]


def test_a_notebook_shows_it_as_a_picture(tmp_path):
    figure = forecast.plot(street_scene(), predicted(street_scene()))
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.savefig(tmp_path / "figure.png")
    assert plt.get_fignums() == []


def test_axes_of_ones_own_are_used():
    own, axes = plt.subplots()
    assert forecast.plot(street_scene(), predicted(street_scene()), axes=axes) is own
    assert len(lines(axes, LIGHT.sample)) == 21
    plt.close(own)


def test_the_last_step_has_no_truth():
    scene = street_scene()
    (axes,) = forecast.plot(scene, predicted(scene, -1)).axes
    assert all(len(path) == 1 for path in lines(axes, LIGHT.truth))
    assert "ground truth" not in [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_loaded_prediction_lies_in_its_scene(tmp_path):
    scene = replace(street_scene(), origin_m=np.array([600_000.0, 5_000_000.0]))
    whole = predicted(scene)
    some = replace(whole, valid=np.arange(len(whole.valid)) != 1, spread_m=None)
    some.save(tmp_path / "p.parquet")
    loaded = replace(Prediction.load(tmp_path / "p.parquet"), origin_m=scene.origin_m + 50)
    loaded = replace(loaded, positions_m=loaded.positions_m - 50, mode_m=loaded.mode_m - 50)
    one, other = (
        np.stack(lines(forecast.plot(scene, each).axes[0], LIGHT.sample)) for each in (some, loaded)
    )
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_other_agents_are_shown_on_demand_or_where_there_are_no_people():
    scene = street_scene()
    (axes,) = forecast.plot(scene, predicted(scene), agents=["4", "5"]).axes
    assert len(lines(axes, LIGHT.sample)) == 14
    rest = replace(scene, tracks=scene.tracks.select(scene.tracks.kinds != AgentKind.PEDESTRIAN))
    (axes,) = forecast.plot(rest, predicted(rest)).axes
    assert len(lines(axes, LIGHT.sample)) == 7 * 3


def test_a_fallback_is_named():
    scene = street_scene()
    whole = predicted(scene)
    for fallback, expected in (
        (np.arange(len(whole.valid)) == 0, {"7 samples", MEANINGS["fallback"]}),
        (np.ones(len(whole.valid), bool), {MEANINGS["fallback"]}),
    ):
        (axes,) = forecast.plot(scene, replace(whole, fallback=fallback)).axes
        named = {text.get_text() for text in axes.get_legend().get_texts()}
        assert named & {"7 samples", MEANINGS["fallback"]} == expected


def test_a_prediction_of_nobody_is_drawn_as_the_scene_alone():
    whole = predicted(street_scene())
    nobody = replace(
        whole,
        positions_m=whole.positions_m[:, :0],
        agent_ids=whole.agent_ids[:0],
        valid=whole.valid[:0],
        mode_m=None,
        spread_m=None,
        now_m=None,
    )
    (axes,) = forecast.plot(street_scene(), nobody).axes
    assert lines(axes, LIGHT.sample) == []
    assert lines(axes, LIGHT.history) != []


def test_a_finer_scene_is_drawn_up_to_the_horizon():
    scene = street_scene(steps=60, dt_s=0.1)
    prediction = ConstantVelocity().predict(street_scene(steps=6), 5, horizon_s=1.0)
    prediction = replace(prediction, at_us=int(scene.timestamps_us[30]))
    (axes,) = forecast.plot(scene, prediction).axes
    assert max(len(path) for path in lines(axes, LIGHT.truth)) == 11
    assert lines(axes, LIGHT.sample) == []


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"at_us": 7}, {}, "prediction.at_us is 7; a prediction at a time of scene street"),
        ({"scene_id": "other"}, {}, "prediction.scene_id is 'other'; 'street' is needed"),
        (
            {"agent_ids": np.array(list("abcdef"))},
            {},
            r"agents that the scene lacks is \['a', 'b', 'c'\]; a prediction at a time",
        ),
        ({}, {"agents": ["7"]}, "agents: '7' is not predicted; one of '0', '1', '2', '3', '4', …"),
        ({}, {"agents": 7}, "agents: 7 is not predicted; one of '0', '1', '2', '3', '4', …"),
        ({}, {"axes": [1, 2]}, "axes is list; one Axes, such as"),
    ],
)
def test_what_does_not_fit_is_refused(change, options, message):
    prediction = replace(predicted(street_scene()), **change)
    with pytest.raises(ForecastError, match=message):
        forecast.plot(street_scene(), prediction, **options)


def test_what_is_drawn_is_what_is_needed():
    scene = street_scene()
    with pytest.raises(ForecastError, match="scene is Prediction; a Scene is needed"):
        forecast.plot(predicted(scene), scene)
    with pytest.raises(ForecastError, match="prediction is NoneType; a Prediction is needed"):
        forecast.plot(scene, None)


def test_the_legend_names_a_fallback_and_only_what_the_map_has():
    scene = street_scene()
    prediction = predicted(scene)
    prediction = replace(prediction, fallback=np.ones(len(prediction.agent_ids), bool))
    (axes,) = forecast.plot(scene, prediction).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert MEANINGS["fallback"] in names
    lane_map = replace(scene.lane_map, crosswalks=Polygons(), walkways=Polygons())
    (axes,) = forecast.plot(replace(scene, lane_map=lane_map), predicted(scene)).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert not {"crosswalk", "walkway", MEANINGS["fallback"]} & set(names)
