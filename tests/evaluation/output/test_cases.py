from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.store import prepare
from forecast.datasets.windows import WindowSpec, prediction_times, window
from forecast.evaluation import evaluate
from forecast.evaluation.output.cases import case_words, label_words
from forecast.evaluation.result import Picture
from forecast.models.baselines import ConstantVelocity
from forecast.scene import AgentKind, Scene
from tests.streets import StreetSource

SPEC = WindowSpec(2, 2)


class Corner(StreetSource):
    """One scene of 4 steps: who turns by 90 degrees, who stands, and an ego 5 m beside."""

    def scene_names(self):
        return ["corner"]

    def splits(self):
        return {"val": ["corner"]}

    def read(self, name):
        turns = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
        tracks = [turns, [[9.0, 9.0]] * 4, [[4.0, 4.0]] * 4]
        kinds = [AgentKind.PEDESTRIAN, AgentKind.PEDESTRIAN, AgentKind.EGO]
        headings = np.zeros((3, 4))
        return Scene.from_arrays(tracks, kinds, 0.5, id=name, headings_rad=headings), {}


@pytest.fixture
def case(tmp_path):
    store = prepare(Corner(), tmp_path / "store")
    result = evaluate(ConstantVelocity(), store, ["corner"], SPEC, samples=3, seed=0)
    scene = store["corner"]
    cut = window(scene, 1, SPEC, prediction_times(scene, SPEC).scored[:, 1])
    made = ConstantVelocity().predict(scene, 1, horizon_s=1.0)
    return result, Picture("worst", 0, 0, cut, made)


def test_says_how_it_went_wrong_and_where_by_hand(case):
    result, picture = case
    words = case_words(result, picture)
    assert words.startswith("2.83 m off after 1 s: went 2.0 m, guessed 2.0 m, 90° apart. ")
    assert " 5 m from the ego. " in words
    assert words.endswith("corner, step 1, 500000 us, 0 (pedestrian)")
    assert "FALLBACK" not in words


def test_names_the_slices_that_few_share_the_rarest_first(case):
    result, picture = case
    count = 10
    labels = {name: np.full(count, "as all") for name in result.rows.labels}
    labels["change"] = np.array(["turning"] * 2 + ["walking on"] * 8)
    labels["light"] = np.array(["night"] + ["day"] * 9)
    labels["weather"] = np.array(["rain"] * 5 + ["dry"] * 5)  # half are not few
    labels["ground"] = np.array([""] + ["walkway"] * 9)  # not known
    rows = replace(result.rows, labels=labels)
    found = case_words(replace(result, rows=rows), picture)
    assert " light: night (10%); change of motion: turning (20%). " in found
    assert "weather" not in found
    asked = case_words(replace(result, rows=rows, slices=("weather",)), picture)
    assert " weather: rain (50%); light: night (10%); change of motion: turning (20%). " in asked


def test_says_a_fallback_and_what_the_samples_do(case):
    result, picture = case
    equal = np.repeat(picture.prediction.positions_m, 20, axis=0)
    made = replace(picture.prediction, positions_m=equal, weights=np.full(20, 0.05))
    marked = replace(result, fallback=np.array([True, False]))
    words = case_words(marked, replace(picture, prediction=made))
    assert "90° apart; all 20 samples are equal. FALLBACK: its past is out of distribution" in words
    spread = equal + np.linspace(-1, 1, 20)[:, None, None, None].astype(np.float32)
    words = case_words(result, replace(picture, prediction=replace(made, positions_m=spread)))
    # ends (3, 0) + (x, x) against (1, 2): the nearest is 2.83 m off at x = +-0.05
    assert "; the nearest of 20 samples 2.83 m off. " in words


def test_a_combination_in_words():
    assert label_words(("crossing", "light"), ("crossing", "night")) == (
        "crossing: crossing, light: night"
    )
