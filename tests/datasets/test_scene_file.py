import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from forecast import ForecastError
from forecast.datasets.scene_file import (
    _CHECKSUM_BYTES,
    SCHEMA_VERSION,
    SceneFile,
    decode,
    encode,
)
from forecast.scene import AgentKind, Scene
from tests.any_scene import assert_equal, scenes, small_map


@given(scenes())
@settings(max_examples=60)
def test_any_scene_comes_back_bit_for_bit(scene):
    file = decode(encode(SceneFile(scene, "abc", {"too short": 3})))
    assert_equal(file.scene, scene)
    assert (file.fingerprint, file.dropped) == ("abc", {"too short": 3})


def test_numbers_are_views_of_the_bytes_and_cannot_be_written():
    scene = Scene.from_arrays(np.ones((3, 4, 2)), [0, 1, 2], 0.5, lane_map=small_map())
    decoded = decode(encode(SceneFile(scene, "", {}))).scene
    tracks, lane_map = decoded.tracks, decoded.lane_map
    for array in (
        tracks.positions_m,
        tracks.valid,
        decoded.timestamps_us,
        lane_map.centerlines.points_m,
        lane_map.walkways.rings.offsets,
    ):
        assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_part_of_a_scene_is_written_as_that_part():
    positions = np.arange(24.0).reshape(2, 6, 2)
    scene = Scene.from_arrays(positions, [AgentKind.PEDESTRIAN] * 2, 0.5).between(2, 5)
    decoded = decode(encode(SceneFile(scene, "", {}))).scene
    np.testing.assert_array_equal(decoded.tracks.positions_m, positions[:, 2:5])
    assert_equal(decoded, scene)


def test_foreign_bytes_are_refused():
    with pytest.raises(ForecastError, match="not a scene file"):
        decode(pa.py_buffer(b"something else entirely"))


def test_a_foreign_arrow_file_is_refused():
    sink = pa.BufferOutputStream()
    table = pa.record_batch([pa.array([1])], names=["x"])
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table)
    with pytest.raises(ForecastError, match="not a scene file: 'schema_version'"):
        decode(sink.getvalue(), compared=True)
    with pytest.raises(ForecastError, match="not a scene file: it has no checksum"):
        decode(sink.getvalue())


def test_another_schema_version_is_refused(monkeypatch):
    scene = Scene.from_arrays(np.ones((1, 2, 2)), [0], 0.5)
    with monkeypatch.context() as patch:
        patch.setattr("forecast.datasets.scene_file.SCHEMA_VERSION", 99)
        content = encode(SceneFile(scene, "", {}))
    with pytest.raises(ForecastError, match=f"schema version 99; {SCHEMA_VERSION} is needed"):
        decode(content)


def test_any_flipped_bit_is_found_before_the_file_is_parsed(monkeypatch):
    """Arrow ends the process over some of them."""
    scene = Scene.from_arrays(np.ones((2, 3, 2)), [0, 1], 0.5, lane_map=small_map())
    content = encode(SceneFile(scene, "abc", {})).to_pybytes()
    monkeypatch.setattr(pa.ipc, "open_file", lambda source: pytest.fail("must not be parsed"))
    for place in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(ForecastError, match=r"checksum|not a scene file"):
            decode(pa.py_buffer(bytes(flipped)))
    for length in range(0, len(content), 101):
        with pytest.raises(ForecastError, match="not a scene file"):
            decode(pa.py_buffer(content[:length]))


def test_a_file_without_a_checksum_needs_the_hash_of_its_store():
    """Older versions wrote files without one."""
    scene = Scene.from_arrays(np.ones((1, 2, 2)), [0], 0.5)
    content = encode(SceneFile(scene, "abc", {}))
    older = content.slice(0, content.size - _CHECKSUM_BYTES)
    assert_equal(decode(older, compared=True).scene, scene)
    with pytest.raises(ForecastError, match="no checksum: cut off, or of an older version"):
        decode(older)


def test_a_file_of_before_lights_has_none():
    """Stores prepared before crosswalks had lights can still be read."""
    scene = Scene.from_arrays(np.ones((1, 4, 2)), [0], 0.5, lane_map=small_map())
    whole = encode(SceneFile(scene, "", {}))
    batch = pa.ipc.open_file(whole.slice(0, whole.size - _CHECKSUM_BYTES)).get_batch(0)
    older, sink = batch.drop_columns(["signalled"]), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, older.schema) as writer:
        writer.write_batch(older)
    lane_map = decode(sink.getvalue(), compared=True).scene.lane_map
    assert (len(lane_map.crosswalks), lane_map.signalled.tolist()) == (1, [False])
