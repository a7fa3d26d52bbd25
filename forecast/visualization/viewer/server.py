"""The server of the viewer: pages and files over HTTP, futures over a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from forecast.errors import ForecastError
from forecast.visualization.viewer.access import Access
from forecast.visualization.viewer.answers import Answers
from forecast.visualization.viewer.frames import encode_frame
from forecast.visualization.viewer.state import MOST_BYTES, PageState, Request, read_request

PAGE = Path(__file__).parent / "page"
_BAD = 1003
"""Code of a socket that is closed because it was sent what is no request (RFC 6455)."""

_MOST_SOCKETS = 256
_Value = TypeVar("_Value")


class ComputeThread:
    """Runs computations in one thread, so that the event loop stays free."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "forecast-view")

    async def run(self, work: Callable[..., _Value], *arguments: Any) -> _Value:
        """The result of a call.

        Raises:
            ForecastError: The call refuses its arguments, or fails; a failure is printed.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work, *arguments)
        except ForecastError:
            raise
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            raise ForecastError(
                f"the server failed: {type(error).__name__}; its terminal shows where"
            ) from error


class Socket:
    """One page's socket: of the requests of a kind that wait, only the newest is answered.

    Args:
        socket: The accepted socket.
        answers: What computes the answers.
        worker: Runs it.
    """

    def __init__(self, socket: WebSocket, answers: Answers, worker: ComputeThread) -> None:
        self._socket, self._answers, self._worker = socket, answers, worker
        self._waiting: dict[type[Any], Request] = {}
        self._news = asyncio.Event()

    async def serve(self) -> None:
        """Reads and answers until the page leaves or sends what is no request."""
        answering = asyncio.create_task(self._answer())
        try:
            while True:
                request: Request = read_request(await self._socket.receive_text(), Request)
                self._waiting[type(request)] = request
                self._news.set()
        except (WebSocketDisconnect, KeyError):  # a message of bytes has no text
            await self._close("text is needed")
        except ForecastError as error:
            await self._close(str(error))
        finally:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await answering

    async def _answer(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                request = self._waiting.pop(next(iter(self._waiting)))
                await self._socket.send_bytes(await self._frame(request))

    async def _frame(self, request: Request) -> bytes:
        try:
            return await self._worker.run(self._answers.answer, request)
        except ForecastError as error:
            about = {"id": request.id, "answers": request.__struct_config__.tag}
            return encode_frame({**about, "error": str(error)}, {})

    async def _close(self, why: str) -> None:
        if self._socket.application_state == WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError):
                await self._socket.close(_BAD, why.encode()[:120].decode(errors="ignore"))


def application(answers: Answers, host: str) -> Access:
    """The application for one store and predictor.

    Args:
        answers: What computes the answers.
        host: Address that the server is bound to.
    """
    worker, sockets = ComputeThread(), set[WebSocket]()

    async def index(request: HttpRequest) -> Response:
        return Response((PAGE / "index.html").read_bytes(), media_type="text/html")

    async def scenes(request: HttpRequest) -> Response:
        return JSONResponse(answers.scenes())

    async def scene(request: HttpRequest) -> Response:
        name = request.path_params["name"]
        if name not in answers.store:
            raise HTTPException(404, f"there is no scene '{name[:80]}' in the store")
        return Response(
            await worker.run(answers.scene, name), media_type="application/octet-stream"
        )

    async def save(request: HttpRequest) -> Response:
        state = read_request(await _body(request), PageState)
        return JSONResponse(await worker.run(answers.save, state))

    async def socket(websocket: WebSocket) -> None:
        if len(sockets) >= _MOST_SOCKETS:
            await websocket.close(1013)
            return
        await websocket.accept()
        sockets.add(websocket)
        try:
            await Socket(websocket, answers, worker).serve()
        finally:
            sockets.discard(websocket)

    routes = [
        Route("/", index),
        Route("/api/scenes", scenes),
        Route("/api/scenes/{name}", scene),
        Route("/api/save", save, methods=["POST"]),
        WebSocketRoute("/socket", socket),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    handlers: dict[Any, Any] = {ForecastError: _refused, HTTPException: _failed}
    return Access(Starlette(routes=routes, exception_handlers=handlers), host)


async def _body(request: HttpRequest) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: It is no JSON by its type (415), or too long (413).
    """
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/json":
        raise HTTPException(415, f"the content type is '{kind[:80]}'; application/json is needed")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the request is longer than {MOST_BYTES} bytes; shorten it")
    return body


async def _refused(request: HttpRequest, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _failed(request: HttpRequest, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)
