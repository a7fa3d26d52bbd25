import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from forecast.datasets.store import SceneStore
from forecast.inference import Forecaster, load
from forecast.visualization.viewer.answers import Answers
from forecast.visualization.viewer.server import application
from forecast.visualization.viewer.state import MOST_BYTES
from tests.streets import street_store


@pytest.fixture(scope="session")
def forecaster() -> Forecaster:
    return load("town")


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> SceneStore:
    return street_store(tmp_path_factory.mktemp("view") / "streets")


@pytest.fixture(scope="session")
def answers(store, forecaster, tmp_path_factory) -> Answers:
    return Answers(store, forecaster, "town", tmp_path_factory.mktemp("edited"))


@contextmanager
def served(answers: Answers, host: str = "127.0.0.1") -> Iterator[tuple[int, str | None]]:
    """A server in a thread: its port and its token."""
    app = application(answers, host)
    listening = socket.create_server((host, 0))
    options = {"log_level": "error", "ws": "websockets-sansio", "ws_max_size": MOST_BYTES}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], app.token
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


@pytest.fixture(scope="module")
def port(answers) -> Iterator[int]:
    with served(answers) as (number, _):
        yield number


@pytest.fixture
def saved_in(answers, tmp_path) -> Iterator[Path]:
    before, answers.out = answers.out, tmp_path
    yield tmp_path
    answers.out = before
