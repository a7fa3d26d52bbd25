import json

import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.crowds.crowd import CrowdSource
from forecast.datasets.store import prepare
from tests.datasets.source_contract import assert_keeps_contract


def walkers(frames, step_m, columns="{frame} {person} {x} {y}"):
    """Rows of two people: one walks by ``step_m`` from row to row, one stands at (5, 5)."""
    rows = []
    for at, frame in enumerate(frames):
        rows.append(columns.format(frame=frame, person=1, x=round(step_m * at, 6), y=2))
        rows.append(columns.format(frame=frame, person=2, x=5, y=5))
    return "\n".join(rows) + "\n"


def source(tmp_path, text, name="plaza.txt", **options):
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / name).write_text(text)
    return CrowdSource(tmp_path, **options)


def read(tmp_path, text, **options):
    return source(tmp_path, text, **options).read("plaza")


def velocities(scene):
    return np.diff(scene.tracks.positions_m[0], axis=0) / scene.dt_s


def test_keeps_the_contract(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "other.txt").write_text(walkers(range(0, 60, 6), 0.5))
    assert_keeps_contract(source(tmp_path, walkers(range(0, 200, 10), 0.5), "val/plaza.txt"))


@pytest.mark.parametrize(
    "frames", [range(780, 840, 6), range(1, 100, 10), range(0, 120, 12), range(10), range(5, 95, 9)]
)
def test_a_step_is_the_spacing_of_the_file(tmp_path, frames):
    scene, dropped = read(tmp_path, walkers(frames, 0.5))
    assert dropped == {}
    assert scene.steps == len(frames)
    assert scene.tracks.valid.all()
    np.testing.assert_allclose(velocities(scene), [[1.25, 0]] * (len(frames) - 1), rtol=1e-5)
    assert scene.frame_ids.tolist() == [str(frame) for frame in frames]
    assert np.diff(scene.timestamps_us).tolist() == [400_000] * (len(frames) - 1)
    assert scene.interpolated is None


def test_a_missing_frame_is_a_gap(tmp_path):
    scene, _ = read(tmp_path, walkers([0, 10, 20, 40, 50], 0.5))
    assert scene.tracks.valid.all(axis=0).tolist() == [True, True, True, False, True, True]
    assert scene.frame_ids.tolist() == ["0", "10", "20", "", "40", "50"]


@pytest.mark.parametrize(
    ("frames", "frame_s", "step_m", "steps"),
    [
        (range(0, 240, 1), 0.04, 0.06, 24),  # every frame of a video at 25 Hz
        (range(0, 100, 10), 0.04, 0.6, 10),  # every tenth
        (range(100), 0.1, 0.15, 25),
        (range(7, 57), 0.2, 0.3, 25),
    ],
)
def test_seconds_per_frame_give_the_time(tmp_path, frames, frame_s, step_m, steps):
    scene, _ = read(tmp_path, walkers(frames, step_m), frame_s=frame_s)
    np.testing.assert_allclose(velocities(scene)[:, 0], 1.5, rtol=1e-4)  # 1.5 m/s throughout
    assert scene.steps == steps
    assert scene.start_us == round(frames[0] * frame_s * 1e6)
    assert scene.interpolated is None


def test_a_rate_between_is_interpolated_and_marked(tmp_path):
    scene, _ = read(tmp_path, walkers(range(0, 90, 9), 0.45), frame_s=1 / 30)  # 0.3 s, 1.5 m/s
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], np.arange(7) * 0.6, atol=1e-5)
    assert scene.interpolated.tolist() == [False, True, True, False, True, True, False]


def test_trajnet_files_state_the_time(tmp_path):
    lines = [{"scene": {"id": 0, "p": 1, "s": 0, "e": 45, "fps": 5}}]
    lines += [{"track": {"f": 5 * t, "p": 1, "x": 0.2 * t, "y": 0}} for t in range(10)]
    text = "\n".join(map(json.dumps, lines))
    scene, _ = source(tmp_path, text, "plaza.ndjson").read("plaza")
    np.testing.assert_allclose(velocities(scene), [[1, 0]] * 4, atol=1e-5)  # 0.2 m in 1/5 s


def test_opentraj_rows_have_z_between(tmp_path):
    text = walkers(range(780, 840, 6), 0.5, "{frame}.0 {person}.0 {x} 0 {y} 1.25 0 0")
    scene, _ = source(tmp_path, text, "seq_eth/obsmat.txt").read("seq_eth")
    assert scene.tracks.positions_m[:, 0].tolist() == [[0, 2], [5, 5]]


@pytest.mark.parametrize(
    ("scale", "guess"),
    [(30, "pixels"), (100, "centimetres or pixels"), (1000, "millimetres")],
)
def test_other_units_than_metres_are_refused_with_a_guess(tmp_path, scale, guess):
    with pytest.raises(ForecastError, match=rf"plaza\.txt: people move at .* second: {guess}\? m"):
        read(tmp_path, walkers(range(0, 100, 10), 0.52 * scale))  # 1.3 m/s


def test_pixels_are_named_with_their_speed(tmp_path):
    with pytest.raises(ForecastError, match="people move at 31 units per second: pixels"):
        read(tmp_path, walkers(range(0, 100, 10), 12.4))


def test_video_frames_are_not_taken_for_steps(tmp_path):
    text = walkers(range(200), 0.052)  # 1.3 m/s at 25 Hz
    with pytest.raises(ForecastError, match=r"at 0\.13 m/s if a step of 1 frames is 0\.4 s; give"):
        read(tmp_path, text)
    np.testing.assert_allclose(velocities(read(tmp_path, text, frame_s=0.04)[0])[0], [1.3, 0])


def test_rows_at_10_hz_are_not_taken_for_steps(tmp_path):
    text = walkers(range(200), 0.13)  # 1.3 m/s at 10 Hz; 0.33 m/s if they were steps
    with pytest.raises(ForecastError, match=r"at 0\.3. m/s if a step of 1 frames is 0\.4 s; give"):
        read(tmp_path, text)
    np.testing.assert_allclose(velocities(read(tmp_path, text, frame_s=0.1)[0])[0], [1.3, 0])


def test_person_before_frame_is_refused(tmp_path):
    """Two people 5 m apart, who walk by 0.5 m, look like people who jump by 5 m."""
    text = "".join(
        f"{person} {at} {0.5 * at} {5 * person}\n" for at in range(9) for person in (1, 2)
    )
    with pytest.raises(
        ForecastError, match=r"by 5 m from .* 0\.5 m apart in a frame: person before"
    ):
        read(tmp_path, text)
    scene, _ = read(tmp_path, "person frame x y\n" + text)
    assert (len(scene.tracks), scene.steps) == (2, 9)


def test_one_record_a_second_is_refused(tmp_path):
    with pytest.raises(ForecastError, match=r"a record every 1 s was measured; 0\.4 s or less"):
        read(tmp_path, walkers(range(10), 1.0), frame_s=1.0)


def test_frames_in_milliseconds_are_refused(tmp_path):
    with pytest.raises(ForecastError, match="400 s between records: milliseconds"):
        read(tmp_path, walkers(range(10), 0.5), frame_s=400)


@pytest.mark.parametrize("frame_s", [0, -0.04, float("nan"), float("inf")])
def test_frame_s_is_a_time(tmp_path, frame_s):
    with pytest.raises(ForecastError, match=r"frame_s is .*; a number of seconds above 0"):
        source(tmp_path, "0 1 2 3\n", frame_s=frame_s)


def test_people_in_the_order_of_their_numbers(tmp_path):
    scene, _ = read(tmp_path, "0 10 0 0\n0 9 1 1\n0 a 2 2\n0 1 3 3\n")
    assert scene.tracks.agent_ids.tolist() == ["1", "9", "a", "10"]


def test_world_coordinates_keep_their_millimetres(tmp_path):
    text = "".join(f"{10 * t} 1 {690_000.123 + 0.5 * t:.3f} 5330000.456\n" for t in range(5))
    scene, _ = read(tmp_path, text)
    assert scene.origin_m.tolist() == [690_001, 5_330_000]
    world = scene.tracks.positions_m[0].astype(np.float64) + scene.origin_m
    np.testing.assert_allclose(world[:, 0], 690_000.123 + 0.5 * np.arange(5), atol=1e-4)


def test_people_with_frames_of_their_own_are_brought_to_common_steps(tmp_path):
    """Two walk at 1.25 m/s, each annotated at every tenth frame, one of them 4 frames later."""
    rows = [(10 * t + 4 * p, p, 0.5 * t + 0.2 * p, p) for t in range(8) for p in (0, 1)]
    scene, _ = read(tmp_path, "".join("{} {} {} {}\n".format(*row) for row in rows))
    assert scene.interpolated is None
    x, valid = scene.tracks.positions_m[..., 0], scene.tracks.valid
    expected = np.broadcast_to((scene.timestamps_us - scene.timestamps_us[0]) / 1e6 * 1.25, x.shape)
    offset = scene.timestamps_us[0] / 1e6 * 1.25
    np.testing.assert_allclose(x[valid], expected[valid] + offset, atol=1e-5)
    assert valid[:, 2:7].all()


def test_one_bad_file_costs_only_itself(tmp_path):
    recordings = source(tmp_path, walkers(range(0, 100, 10), 0.5))
    (tmp_path / "broken.txt").write_text("10 1 2\n")
    recordings = CrowdSource(tmp_path)
    assert recordings.scene_names() == ["broken", "plaza"]
    assert recordings.read("plaza")[0].steps == 10
    with pytest.raises(ForecastError, match=r"broken\.txt: line 1"):
        recordings.read("broken")


def test_the_fingerprint_follows_files_and_options(tmp_path):
    text = walkers(range(5), 0.5)
    first = source(tmp_path, text).fingerprint()
    assert CrowdSource(tmp_path).fingerprint() == first
    assert CrowdSource(tmp_path, frame_s=0.4).fingerprint() != first
    assert source(tmp_path, text + "9 1 9 2\n").fingerprint() != first


def test_splits_of_the_folders_are_in_the_store(tmp_path):
    recordings = source(tmp_path / "data", walkers(range(5), 0.5), "train/plaza.txt")
    (tmp_path / "data" / "val").mkdir()
    (tmp_path / "data" / "val" / "plaza.txt").write_text(walkers(range(7), 0.5))
    recordings = CrowdSource(tmp_path / "data")
    store = prepare(recordings, tmp_path / "store")
    assert store.splits == {"train": ["train/plaza"], "val": ["val/plaza"]}
    assert store["val/plaza"].steps == 7
    assert store.fit_scenes("val") == ["train/plaza"]
