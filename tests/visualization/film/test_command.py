import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forecast import ForecastError
from forecast.cli import main
from forecast.datasets.one_scene import OneScene
from forecast.datasets.store import SceneStore, prepare
from forecast.visualization.extras import package
from forecast.visualization.film import command
from tests.scenes import StreetSource

av = pytest.importorskip("av", reason="PyAV is not installed (extra 'render')")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> SceneStore:
    return prepare(StreetSource(), tmp_path_factory.mktemp("film") / "store")


def words(store: SceneStore, out: Path, *more: str) -> list[str]:
    given = ["--store", str(store.path), "--scene", "street-2", "--predictor", "kalman"]
    given += ["--width", "480", "--horizon-s", "3", "--samples", "3", "--out", str(out)]
    return ["render", *given, *more]


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([each.to_ndarray(format="rgb24") for each in film.decode(video=0)])


def test_an_mp4_has_every_picture(store, tmp_path, capsys):
    out = tmp_path / "film.mp4"
    assert main(words(store, out, "--from", "2", "--to", "4", "--fps", "10")) == 0
    assert f"{out}: 2 s of street-2" in capsys.readouterr().out
    seen = pictures(out)
    assert seen.shape == (21, 270, 480, 3)
    assert (seen[0] != seen[-1]).any()
    with av.open(str(out)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 10
    assert list(tmp_path.iterdir()) == [out]  # nothing is left beside it


def test_two_plans_side_by_side(store, tmp_path):
    out = tmp_path / "plans.mp4"
    assert main(words(store, out, "--at", "5", "--plan", "brake", "keep", "--fps", "5")) == 0
    assert len(pictures(out)) == 26


def test_a_gif_repeats_and_has_every_picture(store, tmp_path):
    out = tmp_path / "film.gif"
    assert main(words(store, out, "--from", "2", "--to", "4", "--fps", "5")) == 0
    with Image.open(out) as film:
        assert (film.size, film.n_frames, film.info["loop"]) == ((480, 270), 11, 0)
        film.seek(5)
        assert film.info["duration"] == 200


def test_a_scene_of_the_city_by_its_seed(tmp_path):
    out = tmp_path / "town.gif"
    given = ["--town", "3", "--predictor", "kalman", "--from", "5", "--to", "6", "--width", "320"]
    assert main(["render", *given, "--fps", "2", "--out", str(out)]) == 0
    with Image.open(out) as film:
        assert film.n_frames == 3


def test_a_scene_file(store, tmp_path):
    out = tmp_path / "file.gif"
    (file, *_) = sorted((store.path / "scenes").iterdir())
    given = ["--scene", str(file), "--predictor", "constant_velocity", "--from", "5", "--to", "6"]
    assert main(["render", *given, "--width", "320", "--fps", "2", "--out", str(out)]) == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--to", "99"], "street-2: to is 99 s; 0 to 11.5 s is needed"),
        (["--scene", "street-9"], "no scene 'street-9'; the closest name is"),
        (["--predictor", "none"], "predictor 'none' is unknown"),
        (["--samples", "0"], "samples is 0"),
        (["--horizon-s", "0.7"], "horizon_s is 0.7"),
        (["--at", "5", "--plan", *["brake"] * 4], "number of plans is 4; at most 3 is needed"),
        (["--width", "333"], "width is 333 px; an even number"),
        (["--fps", "51"], "fps is 51; at most 50 for a GIF (or give an .mp4) is needed"),
    ],
)
def test_a_mistake_is_one_line(store, tmp_path, capsys, more, message):
    assert main(words(store, tmp_path / "film.gif", *more)) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ")
    assert message in said[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("film.avi", "ending is '.avi'; one of .mp4, .gif"),
        ("film", "ending is ''"),
        ("no/film.mp4", "its folder is not there; an existing folder is needed"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path, name, message):
    with pytest.raises(ForecastError, match=message):
        command.run_render(command.Shot(store=tmp_path), tmp_path / name)


def test_a_folder_is_no_scene_file(tmp_path):
    with pytest.raises(ForecastError, match=r"a scene file \(.arrow\) is needed"):
        command.read_scene(tmp_path)
    (tmp_path / "x.arrow").write_text("hello")
    with pytest.raises(ForecastError, match=r"x.arrow: not a scene file"):
        command.read_scene(tmp_path / "x.arrow")
    with pytest.raises(ForecastError, match=r"y.arrow: .*a scene file"):
        command.read_scene(tmp_path / "y.arrow")


def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    message = r"av is not installed; pip install 'forecast\[render\]'"
    with pytest.raises(ForecastError, match=message):
        package("av", "render")
    with pytest.raises(ForecastError, match=message):
        command.run_render(command.Shot(store=tmp_path), tmp_path / "film.mp4")


def test_a_killed_command_leaves_no_film(store, tmp_path):
    out = tmp_path / "film.mp4"
    out.write_text("the one before")
    arguments = [sys.executable, "-m", "forecast", *words(store, out, "--width", "1280")]
    running = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("render: "):
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stderr.close()
    assert out.read_text() == "the one before"
    assert running.returncode == -signal.SIGKILL


def test_the_only_scene_of_a_store_need_not_be_named(store, tmp_path, capsys):
    given = ["--predictor", "kalman", "--to", "1", "--fps", "2", "--width", "320"]
    out = str(tmp_path / "film.gif")
    assert main(["render", "--store", str(store.path), *given, "--out", out]) == 1
    message = "number of scenes is 3; 1 without --scene is needed: name one, such as street-0, "
    assert message in capsys.readouterr().err
    own = prepare(OneScene(store["street-2"], "own", "nuscenes-ped-v1"), tmp_path / "own")
    assert main(["render", "--store", str(own.path), *given, "--out", out]) == 0
