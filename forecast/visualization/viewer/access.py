"""Who may use the server: pages of this server, and beyond this machine those with its token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "forecast_view"
"""Start of the cookie's name. A browser keeps one set of cookies for all ports of a host, so the
port follows: else the pages of two servers would take each other's token away."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address of this machine can be reached from it only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """Refuses requests that no page of this server makes.

    Web pages from elsewhere can send requests to 127.0.0.1. So a request must name this server as
    its host, which a page of another name that leads here does not, and its origin, if it has one,
    must be the same. Beyond this machine a token is needed, from the address that is printed; it is
    kept in a cookie, so that it is not in the address of the page.

    Args:
        app: The application.
        host: Address that the server is bound to.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._local = app, is_loopback(host)
        self.token = None if self._local else secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers with code 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, query = Headers(scope=scope), parse_qs(scope["query_string"].decode("latin-1"))
        why = self._refusal(headers, query)
        if why is None and self.token is not None and "token" in query:
            answer: ASGIApp = RedirectResponse(scope["path"], 303, headers=self._cookie(headers))
            await answer(scope, receive, send)
        elif why is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            await JSONResponse({"error": why}, 403)(scope, receive, send)

    def _cookie(self, headers: Headers) -> dict[str, str]:
        name = _cookie_name(headers)
        return {"Set-Cookie": f"{name}={self.token}; HttpOnly; SameSite=Strict; Path=/"}

    def _refusal(self, headers: Headers, query: dict[str, list[str]]) -> str | None:
        """Why a request is refused, or None."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._local and not is_loopback(_name(f"//{host}")):
            return f"the host '{host[:80]}' is not this machine; use the address that is printed"
        if origin is not None and _netloc(origin) != host:
            return f"the origin '{origin[:80]}' is not this server; open its own page"
        if self.token is None:
            return None
        given = [*query.get("token", []), _cookie_of(headers)]
        if any(hmac.compare_digest(each.encode(), self.token.encode()) for each in given):
            return None
        return "the token is missing or wrong; open the address that the server has printed"


def _name(address: str) -> str:
    """The name of a host without its port; "" where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str | None:
    """Host and port of an origin; None where it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _cookie_name(headers: Headers) -> str:
    """The cookie's name for the port that the browser asks."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"{_COOKIE}_{port}" if port.isdecimal() else _COOKIE


def _cookie_of(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(headers))
    except CookieError:
        return ""
    return "" if found is None else found.value


def _with_headers(send: Send) -> Send:
    """Adds headers that keep other pages from using this one."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
