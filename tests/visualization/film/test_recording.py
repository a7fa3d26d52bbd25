import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast.visualization.film.film import Film
from forecast.visualization.film.recording import SCHEMAS, write_recording
from tests.visualization.film.films import Calibrated, imagined, recorded

reader = pytest.importorskip("mcap.reader", reason="mcap is not installed (extra 'mcap')")
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")


def read(film: Film, path: Path) -> list[tuple[str, int, dict[str, Any]]]:
    """Topic, time and content of all messages; each is valid under the schema of its channel."""
    write_recording(path, film)
    found = []
    with path.open("rb") as file:
        for schema, channel, message in reader.make_reader(file).iter_messages():
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            assert schema.name in SCHEMAS
            content = json.loads(message.data)
            jsonschema.validate(content, json.loads(schema.data))
            found.append((channel.topic, message.log_time, content))
    return found


def test_every_message_is_valid_and_in_its_topic(tmp_path):
    found = read(recorded(), tmp_path / "film.mcap")
    topics = [topic for topic, _, _ in found]
    counts = {topic: topics.count(topic) for topic in set(topics)}
    assert counts == {"/map": 1, "/agents": 21, "/tf": 21, "/futures": 5, "/truth": 5}
    times = [at_ns for _, at_ns, _ in found]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (2_000_000_000, 4_000_000_000)


def test_agents_stand_where_they_are(tmp_path):
    film = recorded()
    found = read(film, tmp_path / "film.mcap")
    (update,) = (each for topic, at, each in found if topic == "/agents" and at == 3_000_000_000)
    assert [each["type"] for each in update["deletions"]] == [1]  # those of before are gone
    bodies = {each["id"]: (each["cubes"] or each["cylinders"])[0] for each in update["entities"]}
    tracks = film.scene.tracks
    assert set(bodies) == set(tracks.agent_ids[tracks.valid[:, 6]])
    for row, name in enumerate(tracks.agent_ids.tolist()):
        body = bodies[name]
        place = [body["pose"]["position"][axis] for axis in "xyz"]
        expected = [*tracks.positions_m[row, 6], tracks.sizes_m[row, 2] / 2]
        np.testing.assert_allclose(place, expected, atol=1e-5)
        turn = 2 * np.arctan2(*(body["pose"]["orientation"][part] for part in "zw"))
        assert np.cos(turn - tracks.headings_rad[row, 6]) == pytest.approx(1, abs=1e-5)
    (frame,) = (each for topic, at, each in found if topic == "/tf" and at == 3_000_000_000)
    assert frame["child_frame_id"] == "ego"
    assert frame["translation"]["x"] == pytest.approx(float(tracks.positions_m[5, 6, 0]))


def test_futures_begin_at_the_person_and_end_at_the_last_step(tmp_path):
    film = recorded()
    found = read(film, tmp_path / "film.mcap")
    (update,) = (each for topic, at, each in found if topic == "/futures" and at == 3_000_000_000)
    made = film.panels[0].predictions[2]
    assert [each["id"] for each in update["entities"]] == ["0", "1", "2"]
    person = update["entities"][1]
    assert person["metadata"] == [{"key": "fallback", "value": "false"}]
    assert len(person["lines"]) == 4 + 1  # samples and best guess; no tubes
    points = np.array([[point["x"], point["y"]] for point in person["lines"][2]["points"]])
    np.testing.assert_allclose(points[0], film.scene.tracks.positions_m[1, 6], atol=1e-3)
    row = made.agent_ids.tolist().index("1")
    np.testing.assert_allclose(points[1:], made.positions_m[2, row], atol=1e-3)
    (truth,) = (each for topic, at, each in found if topic == "/truth" and at == 3_000_000_000)
    (line,) = truth["entities"][1]["lines"]
    points = np.array([[point["x"], point["y"]] for point in line["points"]])
    np.testing.assert_allclose(points, film.scene.tracks.positions_m[1, 6:13], atol=1e-3)


def test_plans_have_topics_and_frames_of_their_own(tmp_path):
    found = read(imagined("brake", "recorded"), tmp_path / "film.mcap")
    topics = {topic for topic, _, _ in found}
    parts = ("agents", "tf", "futures", "plan")
    brake = {f"/the_car_brakes/{part}" for part in parts}
    driven = {f"/the_car_drives_as_recorded/{part}" for part in (*parts, "truth")}
    assert topics == {"/map"} | brake | driven
    frames = {each["child_frame_id"] for topic, _, each in found if topic.endswith("/tf")}
    assert frames == {"the_car_brakes/ego", "the_car_drives_as_recorded/ego"}


def test_the_last_region_and_a_fallback_are_written(tmp_path):
    found = read(recorded(predictor=Calibrated()), tmp_path / "film.mcap")
    (update,) = (each for topic, at, each in found if topic == "/futures" and at == 3_000_000_000)
    first, second, _ = update["entities"]
    assert first["metadata"] == [{"key": "fallback", "value": "true"}]
    assert len(first["lines"]) == 5
    assert len(second["lines"]) == 6
    region = second["lines"][-1]
    assert region["type"] == 1  # a closed line
    points = np.array([[point["x"], point["y"]] for point in region["points"]])
    across = np.linalg.norm(points - points.mean(axis=0), axis=1)
    np.testing.assert_allclose(across, 6 / np.cos(np.pi / 16), atol=0.01)  # 6 steps of 0.5 s
