"""Runs ``forecast view``."""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path
from urllib.parse import quote

from forecast.datasets.manifest import MANIFEST
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError, require
from forecast.evaluation.run.predictors import build
from forecast.files import cache_folder
from forecast.visualization.extras import package
from forecast.visualization.viewer.state import MOST_BYTES

_SAMPLES = 20


def run_view(
    store: Path,
    *,
    predictor: str,
    scene: str | None,
    version: str | None,
    host: str,
    port: int,
    out: Path,
) -> None:
    """Serves the viewer until it is interrupted.

    Args:
        store: A store, or a dataset in nuScenes format, which is prepared first.
        predictor: As for ``forecast evaluate``.
        scene: The scene that is shown first; default: the first one.
        version: The version folder of a dataset; default: the only one.
        host: Address to bind to.
        port: Port; 0 for any that is free.
        out: Folder for saved scenes.

    Raises:
        ForecastError: The extra ``viewer`` is not installed, the store or the predictor cannot be
            opened, there is no such scene, or the address is in use.
    """
    uvicorn, *_ = (package(name, "viewer") for name in ("uvicorn", "starlette", "websockets"))
    from forecast.visualization.viewer.answers import Answers
    from forecast.visualization.viewer.server import application

    opened = open_scenes(store, version)
    names = opened.scene_names
    if scene is not None:
        require(scene in opened, "scene", f"'{scene}'", f"one of {', '.join(names[:5])}, …")
    spec = WindowSpec.of_protocol(opened.protocol, opened.dt_s)
    answers = Answers(opened, build(predictor, opened, "all", spec, _SAMPLES, 0), predictor, out)
    app = application(answers, host)
    with _bound(host, port) as listening:
        answers.warm_up()
        address = _address(host, listening.getsockname()[1], app.token, scene)
        print(f"{opened}\nopen {address}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
        config = uvicorn.Config(
            app,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=MOST_BYTES,
            ws_per_message_deflate=False,  # it takes longer than sending the numbers as they are
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        uvicorn.Server(config).run([listening])


def open_scenes(path: Path, version: str | None) -> SceneStore:
    """Opens a store, or prepares a dataset in nuScenes format into a cache folder.

    Args:
        path: The store or the dataset.
        version: The version folder of the dataset; default: the only one.

    Raises:
        ForecastError: It is neither, or it has several versions.
    """
    if (path / MANIFEST).is_file():
        return SceneStore.open(path)
    versions = sorted(each.parent.name for each in path.glob("*/scene.json"))
    if not versions:
        return SceneStore.open(path)  # says what is missing
    if version is None:
        require(len(versions) == 1, f"{path}: its versions", versions, "--version with one of them")
        version = versions[0]
    name = hashlib.sha256(f"{path.resolve()}\n{version}".encode()).hexdigest()[:16]
    place = cache_folder() / "stores" / name
    print(f"{path}: {version} is prepared into {place}", file=sys.stderr, flush=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    return prepare(NuScenesSource(path, version), place)


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket; raises `ForecastError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ForecastError(
            f"{host}:{port}: {getattr(error, 'strerror', None) or error}; give another --port "
            "(0 for any that is free) or --host"
        ) from None


def _address(host: str, port: int, token: str | None, scene: str | None) -> str:
    if host in ("0.0.0.0", "::"):  # all addresses of this machine; its name leads to one of them
        host = socket.gethostname()
    named = f"[{host}]" if ":" in host else host
    query = "" if token is None else f"?token={token}"
    return f"http://{named}:{port}/{query}{'' if scene is None else f'#scene={quote(scene)}'}"
