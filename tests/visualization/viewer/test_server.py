import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from forecast.visualization.viewer.answers import Answers
from forecast.visualization.viewer.frames import decode_frame
from forecast.visualization.viewer.state import MOST_BYTES
from tests.visualization.viewer.conftest import served

SCENE, AT = "street-3", 8
STATE = {"scene": SCENE, "at": AT, "samples": 4}


def ask(socket: ClientConnection, number: int, state: dict, kind: str = "futures"):
    socket.send(json.dumps({"ask": kind, "id": number, "state": state}))
    return decode_frame(socket.recv(timeout=60))


def get(port: int, path: str, headers: dict | None = None) -> tuple[int, bytes]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.putrequest("GET", path, skip_host="Host" in (headers or {}))
    for name, value in (headers or {}).items():
        line.putheader(name, value)
    line.endheaders()
    answer = line.getresponse()
    return answer.status, answer.read()


def post(port: int, body: bytes, headers: dict | None = None) -> tuple[int, dict]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    kind = {"Content-Type": "application/json"}
    line.request("POST", "/api/save", body, {**kind, **(headers or {})})
    answer = line.getresponse()
    return answer.status, json.loads(answer.read())


def lives(port: int) -> bool:
    with connect(f"ws://127.0.0.1:{port}/socket") as socket:
        return "error" not in ask(socket, 1, STATE)[0]


def test_the_page_and_its_files_are_there(port):
    assert b"<title>forecast view</title>" in get(port, "/")[1]
    for name in ("main.js", "space.js", "style.css", "vendor/three.module.js"):
        assert get(port, f"/page/{name}")[0] == 200
    assert json.loads(get(port, "/api/scenes")[1])["scenes"][3] == SCENE


def test_a_scene_is_given_as_it_is(port, store):
    header, arrays = decode_frame(get(port, f"/api/scenes/{SCENE}")[1])
    np.testing.assert_array_equal(arrays["positions"], store[SCENE].positions_m)
    assert header["agents"] == store[SCENE].tracks.agent_ids.tolist()
    lines = store[SCENE].lane_map.centerlines
    np.testing.assert_array_equal(arrays["centerlines.points"], lines.points_m)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/scenes/none", 404),
        ("/api/scenes/..%2f..%2fetc%2fpasswd", 404),
        ("/page/../server.py", 404),
        ("/page/..%2fserver.py", 404),
        ("/page/%2e%2e/server.py", 404),
        ("/page//etc/passwd", 404),
        ("/page/", 404),
        ("/api/save", 405),
        ("/nothing", 404),
    ],
)
def test_what_is_not_there_is_refused(port, path, status):
    found, body = get(port, path)
    assert found == status
    assert "error" in json.loads(body)


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"Host": "evil.example"}, "not this machine"),
        ({"Host": "127.0.0.1.evil.example:80"}, "not this machine"),
        ({"Host": "["}, "not this machine"),
        ({"Origin": "https://evil.example"}, "not this server"),
        ({"Origin": "null"}, "not this server"),
        ({"Origin": "http://["}, "not this server"),
        ({"Origin": "http://127.0.0.1:1"}, "not this server"),
    ],
)
def test_pages_of_others_are_refused(port, headers, word):
    status, body = get(port, "/api/scenes", headers)
    assert (status, word in json.loads(body)["error"]) == (403, True)


def test_a_socket_of_another_page_is_refused(port):
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws://127.0.0.1:{port}/socket", origin="https://evil.example"),
    ):
        pass
    with connect(f"ws://127.0.0.1:{port}/socket", origin=f"http://127.0.0.1:{port}") as socket:
        assert "error" not in ask(socket, 1, STATE)[0]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        '{"ask":"futures","id":1,"state":{"scene":"street-3","at":NaN}}',
        json.dumps({"ask": "futures", "id": 1, "state": {**STATE, "samples": 10**9}}),
        json.dumps({"ask": "futures", "id": 1, "state": {**STATE, "edits": [{"do": "step"}]}}),
        "[" * 60_000,
        b"\x00\x01",
        "x" * (MOST_BYTES + 1),
    ],
    ids=lambda message: repr(message)[:24],
)
def test_what_is_no_request_closes_the_socket_and_the_server_lives_on(port, message):
    with connect(f"ws://127.0.0.1:{port}/socket") as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert closed.value.rcvd.code in (1003, 1009)
    assert lives(port)


def test_a_request_that_is_refused_says_why_and_the_socket_stays(port):
    with connect(f"ws://127.0.0.1:{port}/socket") as socket:
        header, _ = ask(socket, 7, {**STATE, "scene": "none"})
        assert (header["id"], header["answers"]) == (7, "futures")
        assert "no scene 'none'" in header["error"]
        far = {"do": "change", "agent": "0", "position_m": [1e300, 0]}
        assert "position_m" in ask(socket, 8, {**STATE, "edits": [far]})[0]["error"]
        assert "error" not in ask(socket, 9, STATE)[0]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", None, 400),
        (b'{"scene":"none","at":1}', None, 400),
        (b"x" * (MOST_BYTES + 1), None, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Origin": "https://evil.example"}, 403),
    ],
)
def test_a_bad_save_is_refused(port, saved_in, body, headers, status):
    found, answer = post(port, body, headers)
    assert (found, "error" in answer) == (status, True)
    assert not list(saved_in.iterdir())


def test_a_scene_is_saved(port, saved_in):
    edits = [{"do": "change", "agent": "0", "position_m": [1, 2]}]
    status, answer = post(port, json.dumps({**STATE, "edits": edits}).encode())
    assert status == 200
    assert answer["path"].startswith(str(saved_in))


def test_a_failure_of_a_predictor_is_an_answer_and_not_the_end(store, forecaster, tmp_path, capsys):
    broken = Answers(store, forecaster, "town", tmp_path)
    broken._recorded = lambda *asked: 1 / 0
    with (
        served(broken) as (port, _),
        connect(f"ws://127.0.0.1:{port}/socket") as socket,
    ):
        header, _ = ask(socket, 1, STATE)
        assert header["error"].startswith("the server failed: ZeroDivisionError")
        edit = {"do": "act", "acceleration_mps2": -2}
        assert "error" not in ask(socket, 2, {**STATE, "edits": [edit]})[0]


def test_of_many_requests_the_newest_is_answered(port):
    with connect(f"ws://127.0.0.1:{port}/socket") as socket:
        for number in range(200):
            request = {"ask": "futures", "id": number, "state": {**STATE, "seed": number}}
            socket.send(json.dumps(request))
        answered = []
        while not answered or answered[-1] != 199:
            answered.append(decode_frame(socket.recv(timeout=60))[0]["id"])
    assert answered == sorted(answered)
    assert len(answered) < 150


def test_fifty_pages_at_once_get_the_futures_of_their_own_edits(port):
    def page(number: int) -> np.ndarray:
        edits = [{"do": "change", "agent": "0", "position_m": [number / 10, 1.0]}]
        with connect(f"ws://127.0.0.1:{port}/socket", open_timeout=60) as socket:
            header, arrays = ask(socket, number, {**STATE, "edits": edits})
            assert header["id"] == number
            return arrays["now"][header["agents"].index("0"), 0]

    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(page, range(50)))
    np.testing.assert_allclose(found, np.arange(50) / 10, atol=1e-6)
    with connect(f"ws://127.0.0.1:{port}/socket") as socket:
        assert ask(socket, 1, STATE)[0]["source"] == "predict"


def test_beyond_this_machine_a_token_is_needed(answers):
    with served(answers, "0.0.0.0") as (port, token):
        assert get(port, "/")[0] == 403
        assert get(port, "/?token=wrong")[0] == 403
        assert get(port, "/?token=%ff%fe")[0] == 403
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        line.request("GET", f"/?token={token}")
        answer = line.getresponse()
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert get(port, "/", {"Cookie": cookie.partition(";")[0]})[0] == 200
        address = f"ws://127.0.0.1:{port}/socket"
        with pytest.raises(InvalidStatus, match="403"), connect(address):
            pass
        headers = {"Cookie": cookie.partition(";")[0]}
        with connect(address, additional_headers=headers) as socket:
            assert "error" not in ask(socket, 1, STATE)[0]


def given_cookie(port: int, token: str) -> str:
    """Name and value of the cookie that a server gives for its token."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("GET", f"/?token={token}")
    return line.getresponse().headers["Set-Cookie"].partition(";")[0]


def test_a_browser_keeps_the_tokens_of_two_servers(answers):
    """It sends both cookies to both, because ports do not count."""
    with served(answers, "0.0.0.0") as one, served(answers, "0.0.0.0") as other:
        kept = dict(given_cookie(*each).split("=", 1) for each in (one, other))
        both = "; ".join(f"{name}={value}" for name, value in kept.items())
        for port, _ in (one, other):
            assert get(port, "/", {"Cookie": both})[0] == 200


@pytest.mark.slow
def test_memory_stays_over_many_edits(port):
    def megabytes() -> float:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6

    with connect(f"ws://127.0.0.1:{port}/socket") as socket:
        for number in range(80):
            edits = [{"do": "change", "agent": "0", "position_m": [number / 100, 1.0]}]
            ask(socket, number, {**STATE, "edits": edits, "seed": number % 10})
            if number == 30:
                before = megabytes()
        assert megabytes() - before < 20
