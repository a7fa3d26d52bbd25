"""Keyframes at other rates than 2 Hz, from the tables to the scores."""

import json

import numpy as np
import pytest

from forecast import SceneStore
from forecast.cli import main
from tests.datasets.nuscenes.walks import VERSION, write_walks


def times_at(hz: float, seconds: float = 12) -> list[float]:
    return [i / hz for i in range(round(seconds * hz) + 1)]


@pytest.fixture
def prepared(tmp_path):
    """Writes a dataset and prepares it; gives the exit code."""

    def prepare(times_s, **options) -> int:
        write_walks(tmp_path / "data", times_s, **options)
        words = ["--dataroot", str(tmp_path / "data"), "--version", VERSION, "--no-map"]
        return main(["prepare", "--source", "nuscenes", *words, "--out", str(tmp_path / "store")])

    return prepare


def scene_of(tmp_path):
    return SceneStore.open(tmp_path / "store")["walk"]


def metrics_of_standing_still(tmp_path) -> dict[str, float]:
    words = ["--store", str(tmp_path / "store"), "--split", "all", "--predictor", "stationary"]
    assert main(["evaluate", *words, "--horizon-s", "3", "--out", str(tmp_path / "result")]) == 0
    found: dict[str, float] = json.loads((tmp_path / "result" / "metrics.json").read_text())["all"]
    return found


@pytest.mark.parametrize("hz", [2, 2.5, 3, 4, 5, 10])
def test_who_walks_1_m_per_s_goes_on_by_half_a_metre_at_each_step(prepared, tmp_path, hz):
    assert prepared(times_at(hz)) == 0
    scene = scene_of(tmp_path)
    assert scene.steps == 25
    np.testing.assert_allclose(np.diff(scene.timestamps_us), 500_000, atol=1)
    x = scene.tracks.positions_m[1, :, 0] + scene.origin_m[0]
    np.testing.assert_allclose(x, 0.5 * np.arange(25), atol=1e-5)
    between = np.zeros(25, bool) if scene.interpolated is None else scene.interpolated
    np.testing.assert_array_equal(between, scene.frame_ids == "")
    recorded = {2: 1, 2.5: 4, 3: 2, 4: 1, 5: 2, 10: 1}[hz]
    np.testing.assert_array_equal(between, np.arange(25) % recorded > 0)


@pytest.mark.parametrize("hz", [2.5, 10])
def test_who_walks_1_m_per_s_is_3_m_away_after_3_s(prepared, tmp_path, hz):
    assert prepared(times_at(hz)) == 0
    metrics = metrics_of_standing_still(tmp_path)
    assert metrics["top1_fde_m"] == pytest.approx(3, abs=1e-4)
    assert metrics["top1_ade_m"] == pytest.approx(1.75, abs=1e-4)


def test_who_is_in_every_second_keyframe_at_10_hz_counts_as_others_do(prepared, tmp_path):
    people = {"always": range(121), "every second": range(0, 121, 2), "late": range(70, 121)}
    assert prepared(times_at(10), seen=people) == 0
    tracks = scene_of(tmp_path).tracks
    np.testing.assert_array_equal(tracks.positions_m[2, :, 0], tracks.positions_m[1, :, 0])
    np.testing.assert_array_equal(tracks.valid[3], np.arange(25) >= 14)


def test_a_gap_stays_a_gap(prepared, tmp_path):
    seen = {"walker": [i for i in range(121) if not 30 < i < 60]}
    assert prepared(times_at(10), seen=seen) == 0
    step = np.arange(25)
    np.testing.assert_array_equal(scene_of(tmp_path).tracks.valid[1], (step <= 6) | (step >= 12))


def test_jitter_of_real_tables_changes_nothing(prepared, tmp_path):
    times = np.cumsum([0, *np.random.default_rng(0).uniform(0.45, 0.55, 20)]).tolist()
    assert prepared(times) == 0
    scene = scene_of(tmp_path)
    assert scene.frame_ids.tolist() == [f"s{i}" for i in range(21)]
    assert scene.interpolated is None


@pytest.mark.parametrize(
    ("hz", "words"),
    [
        (1, "walk: a record every 1 s was measured; 0.5 s or less is needed (2 Hz or more)"),
        (2e3, "sample.json: 0.0005 s between records: milliseconds? microseconds are needed"),
        (2e-3, "sample.json: 500 s between records: nanoseconds? microseconds are needed"),
    ],
)
def test_other_rates_and_units_are_refused_in_one_line(prepared, capsys, hz, words):
    assert prepared(times_at(hz, 40 / hz)) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert words in line
