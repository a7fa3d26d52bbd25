import subprocess
from dataclasses import replace

import numpy as np
import pytest

from forecast import __version__
from forecast.datasets.store import prepare
from forecast.evaluation.run.environment import Environment, git_state
from tests.streets import StreetSource


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("one = 1\n")
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(package.parent), *words], check=True)
    return package


def test_git_state_is_the_commit_and_whether_the_package_was_changed(checkout):
    commit, dirty = git_state(checkout)
    assert len(commit) == 40
    assert not dirty
    (checkout.parent / "notes.txt").write_text("beside the package")
    assert git_state(checkout) == (commit, False)
    (checkout / "__init__.py").write_text("one = 2\n")
    assert git_state(checkout) == (commit, True)


def test_an_installed_package_has_no_commit(tmp_path):
    assert git_state(tmp_path) == ("", False)


def test_hashes_are_of_what_they_say(store, tmp_path):
    class Moved(StreetSource):
        def read(self, name):
            scene, dropped = super().read(name)
            assert scene.lane_map is not None
            lines = scene.lane_map.centerlines
            lanes = replace(scene.lane_map, centerlines=replace(lines, points_m=lines.points_m + 1))
            return replace(scene, lane_map=lanes), dropped

    class Renamed(StreetSource):
        def read(self, name):
            scene, dropped = super().read(name)
            names = np.char.add("a", scene.tracks.agent_ids)
            return replace(scene, tracks=replace(scene.tracks, agent_ids=names)), dropped

    val = ["street-3", "street-4"]
    here = Environment.of(store, val)
    assert here == Environment.of(store, val)
    assert here.version == __version__
    assert any(each.startswith("numpy==") for each in here.lock)
    moved = Environment.of(prepare(Moved(), tmp_path / "moved"), val)
    assert moved.tables_sha256 == here.tables_sha256
    assert moved.maps_sha256 != here.maps_sha256
    renamed = Environment.of(prepare(Renamed(), tmp_path / "renamed"), val)
    assert renamed.tables_sha256 != here.tables_sha256
    assert renamed.maps_sha256 == here.maps_sha256
    fewer = Environment.of(store, val[:1])
    assert fewer.split_sha256 != here.split_sha256
