"""``forecast render``: a film of a scene and its predicted futures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.manifest import map_file
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.one_scene import OneScene
from forecast.datasets.progress import with_progress
from forecast.datasets.scene_file import decode
from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError, require
from forecast.files import completed
from forecast.inference import PACKAGED, load
from forecast.scene import Predictor, Scene
from forecast.scene.arguments import whole_steps
from forecast.simulator import VERSION, write_town
from forecast.visualization.birds_eye import LIGHT
from forecast.visualization.extras import package
from forecast.visualization.film.encode import MOST_GIF_FPS, write_gif, write_mp4
from forecast.visualization.film.film import Film, Question, imagined_film, recorded_film
from forecast.visualization.film.legend import used
from forecast.visualization.film.painter import Painter, PictureFormat
from forecast.visualization.film.recording import write_recording
from forecast.visualization.film.replay import write_replay
from forecast.visualization.film.rerun_file import write_rerun

_SMALL = PictureFormat(width_px=800, fps=10)
"""Pictures of a GIF."""

_MOST_PLANS = 3
_NAMED = 3
"""Number of scenes that a message names."""

_HISTORY_S = 2.0
"""What baselines observe of a scene."""


@dataclass(frozen=True)
class Shot:
    """What is to be filmed.

    Attributes:
        store: A store of scenes; None for a scene file or a simulated scene.
        scene: Name of a scene of the store, or a scene file; None for a simulated
            scene, or for the only one of the store.
        town: Seed of a scene of the simulated city; None for a recorded scene.
        predictor: As for ``forecast evaluate``.
        at_s: Time from which one prediction is played; None: the recording is played.
        start_s: First time of the recording that is played.
        stop_s: Last time; None: the end.
        plans: Names of plans of the ego at ``at_s``, side by side.
        asked: What is asked of the predictor.
    """

    store: Path | None = None
    scene: str | None = None
    town: int | None = None
    predictor: str = "town"
    at_s: float | None = None
    start_s: float = 0.0
    stop_s: float | None = None
    plans: tuple[str, ...] = ()
    asked: Question = field(default_factory=Question)


def run_render(
    shot: Shot, out: Path, *, width_px: int | None = None, fps: int | None = None
) -> None:
    """Writes a film; its kind follows from the ending of the file.

    Args:
        shot: What is to be filmed.
        out: The file: .mp4, .gif, .html, .mcap or .rrd. It is there only when it is complete.
        width_px: Width of the pictures; default: that of `PictureFormat`, less for a GIF.
        fps: Pictures a second; default: that of `PictureFormat`, less for a GIF.

    Raises:
        ForecastError: The ending is another one, a package is missing, or the scene, the predictor
            or the plan cannot be had.
    """
    write = _writer(out)
    usual = _SMALL if out.suffix == ".gif" else PictureFormat()
    form = PictureFormat(
        usual.width_px if width_px is None else width_px, usual.fps if fps is None else fps
    )
    if out.suffix == ".gif":
        need = f"at most {MOST_GIF_FPS} for a GIF (or give an .mp4)"
        require(form.fps <= MOST_GIF_FPS, "fps", form.fps, need)
    require(len(shot.plans) <= _MOST_PLANS, "number of plans", len(shot.plans), "at most 3")
    film = film_of(shot)
    with completed(out) as path:
        write(path, film, form)
    size = out.stat().st_size / 1e6
    print(f"{out}: {film.duration_s:g} s of {film.scene.id}, {size:.1f} MB")


_Write = Callable[[Path, Film, PictureFormat], None]


def _mp4(path: Path, film: Film, form: PictureFormat) -> None:
    write_mp4(path, _pictures(film, form), form.fps)


def _gif(path: Path, film: Film, form: PictureFormat) -> None:
    colours = [getattr(LIGHT, name) for name in used(film)]
    write_gif(path, _pictures(film, form), form.fps, colours)


def _pictures(film: Film, form: PictureFormat) -> Iterator[NDArray[np.uint8]]:
    painter = Painter(film, form)
    drawn = (painter.picture(index) for index in range(len(painter)))
    return with_progress(drawn, len(painter), "render", unit="picture")


def _html(path: Path, film: Film, form: PictureFormat) -> None:
    write_replay(path, film)


def _mcap(path: Path, film: Film, form: PictureFormat) -> None:
    write_recording(path, film)


def _rrd(path: Path, film: Film, form: PictureFormat) -> None:
    write_rerun(path, film)


_WRITERS: dict[str, tuple[_Write, tuple[str, str] | None]] = {
    ".mp4": (_mp4, ("av", "render")),
    ".gif": (_gif, None),
    ".html": (_html, None),
    ".mcap": (_mcap, ("mcap.writer", "mcap")),
    ".rrd": (_rrd, ("rerun", "rerun")),
}
"""How a file of each ending is written, and the package and extra that it needs."""


def _writer(out: Path) -> _Write:
    """How a file is written; everything that can be refused at once is refused."""
    endings = ", ".join(_WRITERS)
    require(out.suffix in _WRITERS, f"{out}: ending", f"'{out.suffix}'", f"one of {endings}")
    folder = out.absolute().parent
    require(folder.is_dir(), f"{out}: its folder", "not there", "an existing folder")
    require(not out.is_dir(), str(out), "a folder", "the name of a file")
    write, needed = _WRITERS[out.suffix]
    if needed is not None:
        package(*needed)
    return write


def film_of(shot: Shot) -> Film:
    """The film, with its predictions.

    Raises:
        ForecastError: The scene, the predictor or the plan cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        store, name = _store(shot, Path(folder))
        scene = store[name]
        predictor = _predictor(shot, store, scene)
        if shot.at_s is not None:
            words, at_s, asked = shot.predictor, shot.at_s, shot.asked
            return imagined_film(predictor, words, scene, at_s, asked, shot.plans)
        last_s = (int(scene.timestamps_us[-1]) - scene.start_us) / 1e6
        stop_s = last_s if shot.stop_s is None else shot.stop_s
        return recorded_film(predictor, shot.predictor, scene, shot.start_s, stop_s, shot.asked)


def _store(shot: Shot, folder: Path) -> tuple[SceneStore, str]:
    """The store that holds the scene, one made in a folder if need be, and the scene's name."""
    if shot.town is not None:
        write_town(folder / "town", scenes=1, seed=shot.town)
        store = prepare(NuScenesSource(folder / "town", VERSION), folder / "store")
        return store, store.scene_names[0]
    if shot.store is not None:
        store = SceneStore.open(shot.store)
        if shot.scene is not None:
            return store, shot.scene
        if len(store) != 1:
            known = ", ".join(store.scene_names[:_NAMED])
            raise ForecastError(
                f"{shot.store}: number of scenes is {len(store)}; 1 without --scene is needed: "
                f"name one, such as {known}"
            )
        return store, store.scene_names[0]
    scene = read_scene(Path(shot.scene or ""))
    source = OneScene(scene, "scene file", "nuscenes-ped-v1")
    return prepare(source, folder / "store"), scene.id


def read_scene(path: Path) -> Scene:
    """Reads a scene file, such as ``scenes/<name>.arrow`` of a store.

    Raises:
        ForecastError: There is no such file, or it is no scene file.
    """
    try:
        return decode(map_file(path)).scene
    except OSError as error:
        raise ForecastError(
            f"{path}: {error.strerror or 'cannot be read'}; a scene file (.arrow) is needed, or "
            "--store and the name of a scene"
        ) from error
    except ForecastError as error:
        raise ForecastError(f"{path}: {error}; a scene file (.arrow) is needed") from error


def _predictor(shot: Shot, store: SceneStore, scene: Scene) -> Predictor:
    """The predictor by its name; baselines are fitted on scenes other than the filmed one."""
    if shot.predictor in PACKAGED:
        return load(shot.predictor)
    # Here, because these packages take a second that packaged weights save.
    from forecast.evaluation.run.predictors import build

    splits = [split for split, names in store.splits.items() if scene.id in names]
    steps = whole_steps("horizon_s", shot.asked.horizon_s, scene.dt_s)
    spec = WindowSpec(round(_HISTORY_S / scene.dt_s) + 1, steps)
    asked = shot.asked
    return build(shot.predictor, store, [*splits, "all"][0], spec, asked.samples, asked.seed)
