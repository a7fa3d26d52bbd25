"""Films that show the modes of each person in place of the samples."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.datasets.store import prepare
from forecast.models.baselines import Kalman
from forecast.scene import ModeSet, Prediction, Scene
from forecast.visualization.birds_eye import LIGHT, futures_of
from forecast.visualization.film.film import Film, imagined_film, recorded_film
from forecast.visualization.film.legend import meaning, used
from forecast.visualization.film.painter import Painter, PictureFormat
from forecast.visualization.film.replay import replay_data, write_replay
from tests.browser import visit
from tests.scenes import StreetSource, street_scene
from tests.visualization.film.films import ASKED
from tests.visualization.film.test_painter import has
from tests.visualization.film.test_recording import read

SHARES = np.array([0.6, 0.32, 0.08], np.float32)
ASIDE_M = np.array([[0, 4], [0, -4], [3, 0]], np.float32)
"""Where each mode ends, relative to the best guess."""


class Branching(Kalman):
    """Has three modes of each agent, `ASIDE_M` beside its best guess at the end."""

    def predict(self, scene: Scene, at: int, **options) -> Prediction:
        made = super().predict(scene, at, **options)
        guess = made.most_probable()
        share = np.linspace(0, 1, guess.shape[1], dtype=np.float32)[:, None]
        paths = guess[:, None] + ASIDE_M[:, None] * share
        return replace(made, mode_sets=(ModeSet(paths, np.tile(SHARES, (len(guess), 1))),))


def film(is_imagined: bool = False, modes: int | None = 3) -> Film:
    asked = replace(ASKED, modes=modes)
    if is_imagined:
        return imagined_film(Branching(), "branching", street_scene(), 5.0, asked)
    return recorded_film(Branching(), "branching", street_scene(), 2.0, 4.0, asked)


def test_the_futures_of_modes_have_the_probabilities_of_each_agent():
    made = film().panels[0].predictions[0]
    agents = np.array([2, 0])
    paths, shares = futures_of(made, agents, 3)
    np.testing.assert_array_equal(paths[1, 0], made.mode_sets[0].positions_m[2, 1])
    np.testing.assert_array_equal(shares, np.repeat(SHARES[:, None].astype(float), 2, axis=1))
    paths, shares = futures_of(made, agents)
    np.testing.assert_array_equal(paths, made.positions_m[:, agents])
    np.testing.assert_array_equal(shares[:, 1], made.weights)


@pytest.mark.parametrize("is_imagined", [False, True])
def test_the_picture_shows_modes_in_place_of_samples(is_imagined):
    form = PictureFormat(width_px=640, fps=2, hold_s=0.5)
    shown, plain = (Painter(film(is_imagined, modes), form) for modes in (3, None))
    picture, other = (painter.picture(len(painter) - 1)[44:300] for painter in (shown, plain))
    assert has(picture, LIGHT.sample, 4)
    assert (picture != other).any(axis=-1).sum() > 300
    labels = Painter(film(is_imagined), form)
    labels._draw_shares = lambda axes, prediction: None  # type: ignore[method-assign]
    without = labels.picture(len(labels) - 1)[44:300]
    assert (picture != without).any(axis=-1).sum() > 50  # the probabilities are written


def test_the_legend_says_so():
    assert "sample" in used(film())
    assert meaning(film(), "sample") == "3 modes, wider if more probable"


def test_the_page_has_the_modes_and_their_probabilities():
    (panel,) = replay_data(film(is_imagined=True))["panels"]
    (made,) = panel["predictions"]
    assert made["count"] == 3
    assert len(made["agents"]) == 3


@pytest.mark.slow
def test_the_page_writes_the_probabilities(browser, tmp_path):
    path = tmp_path / "film.html"
    write_replay(path, film(is_imagined=True))
    with visit(browser, path.as_uri(), 900) as opened:
        script = """(() => {
            const written = [];
            pictures[0].context.fillText = (words) => written.push(words);
            pictures[0].draw(state.time);
            return written;
        })()"""
        written = opened.page.evaluate(script)
        assert {"60%", "32%"} <= set(written)
        assert "8%" not in written  # below a tenth
        made = "film.panels[0].predictions[0]"
        shares = opened.page.evaluate(f"Array.from({made}.shares)")
        np.testing.assert_allclose(shares, np.repeat(SHARES, 3), rtol=1e-6)
        assert opened.complaints == []


def test_a_recording_says_how_probable_each_line_is(tmp_path):
    found = read(film(), tmp_path / "film.mcap")
    (update,) = (each for topic, at, each in found if topic == "/futures" and at == 3_000_000_000)
    person = update["entities"][0]
    assert {"key": "probabilities", "value": "0.600 0.320 0.080"} in person["metadata"]
    assert len(person["lines"]) == 3 + 1
    made = film().panels[0].predictions[2]
    points = [[point["x"], point["y"]] for point in person["lines"][1]["points"]]
    row = made.agent_ids.tolist().index(person["id"])
    expected = made.mode_sets[0].positions_m[row, 1]
    np.testing.assert_allclose(points[1:], expected, atol=1e-3)
    alphas = [line["color"]["a"] for line in person["lines"][:3]]
    assert alphas == sorted(alphas, reverse=True)


def test_a_number_of_modes_that_there_is_not_is_refused():
    with pytest.raises(ForecastError, match="number of modes is 7; 3 is needed"):
        film(modes=7)
    with pytest.raises(ForecastError, match="a predictor with modes"):
        recorded_film(Kalman(), "kalman", street_scene(), 2.0, 4.0, replace(ASKED, modes=3))


def test_modes_beside_a_plan_are_refused():
    asked = replace(ASKED, modes=3)
    with pytest.raises(ForecastError, match="modes know nothing of the ego's plan"):
        imagined_film(Branching(), "branching", street_scene(), 5.0, asked, ["brake"])


@pytest.mark.slow
def test_the_command_shows_the_modes_of_the_network(tmp_path):
    store = prepare(StreetSource(), tmp_path / "store")
    out = tmp_path / "film.html"
    given = ["--scene", "street-1", "--to", "0.5", "--modes", "5", "--out", str(out)]
    assert main(["render", "--store", str(store.path), *given]) == 0
    text = out.read_text().split('id="film">')[1].split("</script>")[0]
    (made, _) = json.loads(text)["panels"][0]["predictions"]
    assert made["count"] == 5
