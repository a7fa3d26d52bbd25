import numpy as np
import pytest

from forecast.datasets.crowds.stanford import StanfordSource
from forecast.errors import ForecastError
from tests.datasets.source_contract import assert_keeps_contract


@pytest.fixture
def folder(tmp_path):
    """Two walkers (one stops) and a cyclist in one recording, one walker in the other."""
    rows = [(12 * step, person, step * stride, person) for person, stride in ((1, 0.4), (2, 2.0))
            for step in range(4)]  # fmt: skip
    rows += [(24, 3, 5.0, 5.0), (36, 3, 5.0, 5.5)]
    write(tmp_path / "gates_0.txt", rows)
    write(tmp_path / "nexus_4.txt", rows[:4])
    return tmp_path


def write(path, rows):
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


def test_reads_walkers_and_counts_those_too_fast(folder):
    scene, dropped = StanfordSource(folder).read("gates_0")
    assert scene.tracks.agent_ids.tolist() == ["1", "3"]
    assert dropped == {"faster_than_walking": 1}
    assert (scene.dt_s, scene.location, scene.headings_recorded) == (0.4, "gates", False)
    world = scene.tracks.positions_m + scene.origin_m
    np.testing.assert_allclose(world[0], [[0, 1], [0.4, 1], [0.8, 1], [1.2, 1]], atol=1e-6)
    assert scene.tracks.valid[1].tolist() == [False, False, True, True]


def test_a_gap_does_not_lower_the_speed(tmp_path):
    write(tmp_path / "gates_0.txt", [(0, 1, 0, 0), (120, 1, 9, 0), (0, 2, 0, 0), (120, 2, 11, 0)])
    scene, dropped = StanfordSource(tmp_path).read("gates_0")  # 2.25 and 2.75 m/s over 4 s
    assert (scene.tracks.agent_ids.tolist(), dropped) == (["1"], {"faster_than_walking": 1})


def test_splits_and_keeps_the_contract(folder):
    source = StanfordSource(folder)
    assert source.splits() == {"all_recordings": ["gates_0", "nexus_4"]}
    assert_keeps_contract(source)


def test_an_unknown_scene_and_an_empty_folder_are_refused(folder, tmp_path_factory):
    with pytest.raises(ForecastError, match="scene 'quad' is unknown; one of gates_0, nexus_4"):
        StanfordSource(folder).read("quad")
    with pytest.raises(ForecastError, match=r"no recording such as bookstore_0\.txt; give the"):
        StanfordSource(tmp_path_factory.mktemp("none"))


def test_refuses_a_recording_without_walkers(tmp_path):
    write(tmp_path / "gates_0.txt", [(0, 1, 0, 0), (12, 1, 2, 0)])
    with pytest.raises(ForecastError, match=r"gates_0\.txt: nobody is slower than 2\.5 m/s"):
        StanfordSource(tmp_path).read("gates_0")
