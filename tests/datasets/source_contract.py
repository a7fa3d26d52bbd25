"""The contract of every scene source. The tests of each source run it."""

import pickle

import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.source import SceneSource
from forecast.datasets.windows import PROTOCOLS
from tests.any_scene import assert_equal


def assert_keeps_contract(source: SceneSource, scenes: int | None = None) -> None:
    """Checks a source.

    Args:
        source: The source.
        scenes: Number of its scenes to read; default: all.
    """
    names = source.scene_names()
    _check_description(source, names)
    for name in names[:scenes]:
        _check_scene(source, name)
    with pytest.raises(ForecastError, match="no-such-scene") as error:
        source.read("no-such-scene")
    assert "\n" not in str(error.value)
    again = pickle.loads(pickle.dumps(source))
    assert again.fingerprint() == source.fingerprint()
    assert_equal(again.read(names[0])[0], source.read(names[0])[0])


def _check_description(source: SceneSource, names: list[str]) -> None:
    assert source.name
    assert source.protocol in PROTOCOLS
    assert source.dt_s > 0
    assert names, "a source has at least one scene"
    assert len(set(names)) == len(names)
    assert source.scene_names() == names
    assert source.splits(), "a source has at least one split"
    for split, members in source.splits().items():
        assert set(members) <= set(names), split
        assert len(set(members)) == len(members), split
    assert source.fingerprint() == source.fingerprint()


def _check_scene(source: SceneSource, name: str) -> None:
    scene, dropped = source.read(name)
    tracks = scene.tracks
    assert scene.id == name
    assert scene.dt_s == source.dt_s
    assert all(isinstance(why, str) and type(n) is int and n >= 0 for why, n in dropped.items())
    assert len(tracks)
    assert tracks.valid.any(axis=1).all(), "every agent is seen at least once"
    assert not tracks.positions_m[~tracks.valid].any()
    assert not tracks.headings_rad[~tracks.valid].any()
    assert (np.abs(tracks.headings_rad) <= np.pi + 1e-6).all()
    assert (tracks.sizes_m > 0).all()
    steps_s = np.diff(scene.timestamps_us) / 1e6
    assert (np.abs(steps_s - source.dt_s) <= 0.25 * source.dt_s).all(), "steps keep to the grid"
    for array, dtype in (
        (tracks.kinds, np.int8),
        (tracks.positions_m, np.float32),
        (tracks.headings_rad, np.float32),
        (tracks.sizes_m, np.float32),
        (tracks.valid, np.bool_),
        (scene.timestamps_us, np.int64),
        (scene.origin_m, np.float64),
    ):
        assert array.dtype == dtype
    assert_equal(source.read(name)[0], scene)
