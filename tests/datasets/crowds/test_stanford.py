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
    rows = [(0, 1, 0, 0), (120, 1, 9, 0), (0, 2, 0, 0), (120, 2, 11, 0)]  # 2.25, 2.75 m/s over 4 s
    write(tmp_path / "gates_0.txt", rows + [(12 * step, 3, 5, step / 2) for step in range(4)])
    scene, dropped = StanfordSource(tmp_path).read("gates_0")
    assert (scene.tracks.agent_ids.tolist(), dropped) == (["1", "3"], {"faster_than_walking": 1})


def test_any_names_a_bom_and_other_spacings_are_read(tmp_path):
    rows = "".join(f"{10 * t}\t1\t{0.5 * t}\t0\n" for t in range(4))
    (tmp_path / "plaza.txt").write_text("\ufeff" + rows)
    scene, dropped = StanfordSource(tmp_path).read("plaza")
    assert (scene.location, dropped) == ("plaza", {"faster_than_walking": 0})
    assert scene.tracks.positions_m[0, :, 0].tolist() == [0, 0.5, 1, 1.5]


def test_pixels_are_refused(tmp_path):
    write(tmp_path / "gates_0.txt", [(12 * t, 1, 16 * t, 0) for t in range(4)])
    with pytest.raises(ForecastError, match="people move at 40 units per second: pixels"):
        StanfordSource(tmp_path).read("gates_0")


def test_splits_and_keeps_the_contract(folder):
    source = StanfordSource(folder)
    assert source.splits() == {"all_recordings": ["gates_0", "nexus_4"]}
    assert_keeps_contract(source)


def test_an_unknown_scene_and_an_empty_folder_are_refused(folder, tmp_path_factory):
    with pytest.raises(ForecastError, match="scene 'quad' is unknown; one of gates_0, nexus_4"):
        StanfordSource(folder).read("quad")
    with pytest.raises(ForecastError, match=r"no recording such as plaza\.txt; give a"):
        StanfordSource(tmp_path_factory.mktemp("none"))


def test_refuses_a_recording_without_walkers(tmp_path):
    write(tmp_path / "gates_0.txt", [(0, 1, 0, 0), (12, 1, 2, 0)])
    with pytest.raises(ForecastError, match=r"gates_0\.txt: nobody is slower than 2\.5 m/s"):
        StanfordSource(tmp_path).read("gates_0")
