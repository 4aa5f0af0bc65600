#!/usr/bin/env python3
"""The web server over raw sockets: routes, limits, hostile requests. test_web.py WEB_DEMO"""
import base64
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
import traceback

TIMEOUT_S = 20  # of anything that should take milliseconds
SAFE = ["content-security-policy: default-src 'self'", "x-content-type-options: nosniff",
        "referrer-policy: no-referrer", "frame-ancestors 'none'"]
TEXT, BINARY, CLOSE = 0x81, 0x82, 0x88
VIEW, LIST = "causeway-view-1", "causeway-list-1"


class Demo:
    def __init__(self, program, listen="127.0.0.1", stall_ms=0):
        self.child = subprocess.Popen([program, listen, str(stall_ms)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
        self.port = int(self.child.stdout.readline().removeprefix("port="))

    def tell(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        assert self.child.stdout.readline() == "ok\n", line

    def stop(self):
        self.child.stdin.close()
        assert self.child.wait(TIMEOUT_S) == 0, "web_demo must end cleanly"

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)


def read_all(s):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := s.recv(65536):
            data += chunk
    return data


def read_head(s):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = s.recv(1)
        if not byte:
            break
        data += byte
    return data.decode()


def exact(s, n):
    data = b""
    while len(data) < n:
        chunk = s.recv(n - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def ask(demo, target, method="GET", more=""):
    """Status, head and body; the connection ends after it."""
    with demo.connect() as s:
        s.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"
                  .encode("latin1"))
        head, _, body = read_all(s).partition(b"\r\n\r\n")
    head = head.decode().lower()
    return int(head.split(" ", 2)[1]), head, body


def upgrade(demo, path="/ws/demo", protocol=VIEW, more=""):
    s = demo.connect()
    named = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{demo.port}\r\nUpgrade: websocket\r\n"
              f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
              f"{named}{more}\r\n".encode())
    head = read_head(s)
    return s, int(head.split(" ", 2)[1]) if head else 0


def message(s):
    """The next one but pings; EOFError at the end."""
    while True:
        first, n = exact(s, 2)
        if n == 126:
            n, = struct.unpack("!H", exact(s, 2))
        elif n == 127:
            n, = struct.unpack("!Q", exact(s, 8))
        data = exact(s, n)
        if first == CLOSE:
            raise EOFError
        if first != 0x89:
            return first, data


def send(s, data, first=BINARY):
    n = struct.pack("!B", 0x80 | len(data)) if len(data) < 126 else \
        struct.pack("!BH", 0x80 | 126, len(data))
    s.sendall(bytes([first]) + n + b"\0\0\0\0" + data)


def update(s):
    """The next update's number, flags, size and rectangles."""
    while True:
        kind, data = message(s)
        if kind == BINARY and data[0] == 1:
            flags, seq, width, height, n = struct.unpack_from("!BIHHH", data, 1)
            at, rects = 12, []
            for _ in range(n):
                *rect, form, length = struct.unpack_from("!HHHHBI", data, at)
                rects.append((tuple(rect), form, data[at + 13:at + 13 + length]))
                at += 13 + length
            assert at == len(data)
            return seq, flags, (width, height), rects


def ack(s, seq):
    send(s, struct.pack("!BI", 4, seq))


def is_dropped(s):
    try:
        while True:
            message(s)
    except (EOFError, ConnectionResetError):
        return True


def routes_answer_with_safe_headers(demo):
    for target, status, kind in (("/", 200, "text/html"), ("/space/demo", 200, "text/html"),
                                 ("/space/nope", 404, "text/html"),
                                 ("/style.css", 200, "text/css"),
                                 ("/space.js", 200, "text/javascript"),
                                 ("/icon.svg", 200, "image/svg+xml"),
                                 ("/api/v1/spaces", 200, "application/json"),
                                 ("/nope", 404, "application/json"),
                                 ("/api/v1/nope", 404, "application/json"),
                                 ("/api/v1/spaces/demo/snapshot.png", 200, "image/png"),
                                 ("/api/v1/spaces/nope/snapshot.png", 404, "application/json")):
        got, head, body = ask(demo, target)
        assert got == status, (target, got)
        assert f"content-type: {kind}" in head, (target, head)
        assert f"content-length: {len(body)}" in head, (target, head)
        assert all(h in head for h in SAFE), (target, head)


def spaces_are_listed(demo):
    demo.tell("state demo paused Ann Back in a minute.")
    demo.tell("state other waiting - ")
    demo.tell("size 640 480")
    spaces = json.loads(ask(demo, "/api/v1/spaces")[2])["spaces"]
    assert [s.pop("since") > 1e9 for s in spaces] == [True, True]
    assert spaces == [
        {"name": "demo", "state": "paused", "sharer": "Ann", "detail": "Back in a minute.",
         "viewers": 0, "width": 640, "height": 480},
        {"name": "other", "state": "waiting", "sharer": None, "detail": None, "viewers": 0,
         "width": 0, "height": 0}], spaces
    assert ask(demo, "/api/v1/spaces/other/snapshot.png")[0] == 404


def head_has_no_body_and_other_methods_get_405(demo):
    status, head, body = ask(demo, "/", "HEAD")
    assert status == 200 and body == b"" and "content-length: 0" not in head
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        for target in ("/", "/api/v1/spaces", "/api/v1/spaces/demo/snapshot.png"):
            status, head, body = ask(demo, target, method, "Content-Length: 0\r\n")
            assert status == 405 and "allow: get, head" in head, (method, target, head)
            assert "error" in json.loads(body)


def files_are_kept_by_their_tag(demo):
    head = ask(demo, "/space.js")[1]
    tag = next(line.split(" ", 1)[1] for line in head.split("\r\n") if line.startswith("etag"))
    assert ask(demo, "/space.js", more=f"If-None-Match: {tag}\r\n")[::2] == (304, b"")
    assert ask(demo, "/space.js", more='If-None-Match: "other"\r\n')[0] == 200


def names_are_decoded_once_and_bounded(demo):
    demo.tell("state a%20b live - ")
    demo.tell("state caf\u00e9 live - ")
    assert ask(demo, "/space/a%2520b")[0] == 200
    assert ask(demo, "/space/a%20b")[0] == 404
    assert ask(demo, "/space/caf%C3%A9")[0] == 200
    long = "x" * 64
    demo.tell(f"state {long} live - ")
    assert ask(demo, f"/space/{long}")[0] == 200
    assert ask(demo, f"/space/{long}x")[0] == 404
    assert ask(demo, "/space/" + "x" * 300)[0] == 400
    s, status = upgrade(demo, f"/ws/{long}")
    assert status == 101 and json.loads(message(s)[1])["name"] == long


def hostile_requests_harm_nobody(demo):
    for raw in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nhello",
                b"GET /space/%00demo HTTP/1.0\r\n\r\n", b"GET /%zz HTTP/1.0\r\n\r\n",
                b"GET http://x/ HTTP/1.0\r\n\r\n", b"GET /../../etc/passwd HTTP/1.0\r\n\r\n",
                b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.0\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
                b"GET / HTTP/1.0\r\nA: " + b"a" * 100000 + b"\r\n\r\n",
                b"GET /" + b"a" * 100000 + b" HTTP/1.0\r\n\r\n",
                b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
                b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"):
        with demo.connect() as s:
            with contextlib.suppress(OSError):
                s.sendall(raw)
                s.shutdown(socket.SHUT_WR)
            answer = read_all(s)
        assert b"101 " not in answer[:20] and b"root:" not in answer, (raw[:60], answer[:200])
        assert b"200 OK" not in answer[:20] or raw.startswith((b"GET / HTTP", b"GET http")), raw[:60]
        assert ask(demo, "/api/v1/spaces")[0] == 200, raw[:60]


def sockets_need_the_protocol_path_and_origin(demo):
    own = f"Origin: http://127.0.0.1:{demo.port}\r\n"
    for path, protocol, more, status in (
            ("/ws/demo", VIEW, "", 101), ("/ws/demo", VIEW, own, 101), ("/ws", LIST, own, 101),
            ("/ws/demo", None, "", 400), ("/ws/demo", LIST, "", 400), ("/ws", VIEW, "", 400),
            ("/ws/demo", "http", "", 400), ("/", VIEW, "", 404), ("/wsx", VIEW, "", 404),
            ("/ws/demo", VIEW, "Origin: http://evil.example\r\n", 403),
            ("/ws/demo", VIEW, "Origin: null\r\n", 403),
            ("/ws/demo", VIEW, f"Origin: http://127.0.0.1:{demo.port}.evil.example\r\n", 403),
            ("/ws", LIST, "Origin: http://evil.example\r\n", 403)):
        s, got = upgrade(demo, path, protocol, more)
        s.close()
        assert got == status, (path, protocol, more, got)


def a_viewer_gets_state_picture_and_refresh(demo):
    s, _ = upgrade(demo)
    kind, text = message(s)
    state = json.loads(text)
    assert kind == TEXT and state["state"] == "live" and state["sharer"] == "Ann Example"
    seq, flags, size, rects = update(s)
    assert size == (800, 600) and flags == 0
    assert [r[:2] for r in rects] == [((0, 0, 800, 600), 1)] and rects[0][2][:2] == b"\xff\xd8"
    while not flags:
        ack(s, seq)
        seq, flags, size, rects = update(s)
        assert all(form == 2 and png[:4] == b"\x89PNG" for _, form, png in rects)
    ack(s, seq)
    demo.tell("state demo ended Ann She hung up.")
    assert json.loads(message(s)[1])["detail"] == "She hung up."
    demo.tell("drop demo")
    assert json.loads(message(s)[1])["state"] == "missing"
    assert is_dropped(s)


def the_pointer_goes_with_its_picture(demo):
    s, _ = upgrade(demo)
    update(s)
    demo.tell("cursor 10 20")
    shapes = []
    while len(shapes) < 2:
        kind, data = message(s)
        if kind != TEXT and data[0] == 2:
            shapes.append(struct.unpack("!HH", data[1:5]))
            demo.tell("gone")
    assert shapes == [(12, 12), (0, 0)]


def two_updates_without_acknowledgement_and_no_more(demo):
    s, _ = upgrade(demo)
    first = update(s)[0]
    demo.tell("step")
    assert update(s)[0] == first + 1
    for _ in range(20):
        demo.tell("step")
    demo.tell("state demo live Ann marker")
    while True:  # whatever comes before the marker must be text
        kind, data = message(s)
        assert kind == TEXT, data[:20]
        if json.loads(data)["detail"] == "marker":
            break
    ack(s, first)
    assert update(s)[0] == first + 2


def what_viewers_may_not_say_ends_them(demo):
    for first, data in ((BINARY, struct.pack("!BI", 4, 77)), (BINARY, b""), (BINARY, b"\4\0\0\0"),
                        (BINARY, struct.pack("!BI", 1, 1)), (TEXT, struct.pack("!BI", 4, 1)),
                        (BINARY, b"\4" * 6), (BINARY, b"a" * 5000), (0x02, b"\4\0\0\0\1"),
                        (0x83, b"\4\0\0\0\1"), (0xC2, b"\4\0\0\0\1")):
        s, _ = upgrade(demo)
        update(s)
        send(s, data, first)
        assert is_dropped(s), (first, data[:20])
    s, _ = upgrade(demo, "/ws", LIST)
    message(s)
    send(s, b"hello")
    assert is_dropped(s)


def readers_of_the_list_hear_of_changes(demo):
    s, _ = upgrade(demo, "/ws", LIST)
    assert len(json.loads(message(s)[1])["spaces"]) == 1
    demo.tell("state more waiting - ")
    while len(json.loads(message(s)[1])["spaces"]) != 2:
        pass
    viewer, _ = upgrade(demo)
    while json.loads(message(s)[1])["spaces"][0]["viewers"] != 1:
        pass
    viewer.close()
    while json.loads(message(s)[1])["spaces"][0]["viewers"] != 0:
        pass


def a_full_space_says_so(demo):
    inside = [upgrade(demo)[0] for _ in range(6)]
    for s in inside:
        update(s)
    s, status = upgrade(demo)
    assert status == 101 and json.loads(message(s)[1])["state"] == "full" and is_dropped(s)
    inside.pop().close()
    while True:  # until the server has seen it go
        s, _ = upgrade(demo)
        if json.loads(message(s)[1])["state"] == "live":
            break
    update(s)


def more_sockets_than_allowed_are_closed_at_once(demo):
    held, refused = [], 0
    for _ in range(100):
        s = demo.connect()
        held.append(s)
        try:
            s.sendall(b"GET /api/v1/spaces HTTP/1.1\r\nHost: x\r\n\r\n")
            refused += not read_head(s)
        except ConnectionError:
            refused += 1
    assert refused == 100 - (8 + 64), refused  # web_demo's viewers, and others
    for s in held:
        s.close()
    for _ in range(200):  # until the server has seen them go
        with contextlib.suppress(ConnectionError, IndexError):
            if ask(demo, "/api/v1/spaces")[0] == 200:
                return
    raise AssertionError("the server does not come back")


def requests_in_a_row_on_one_connection(demo):
    with demo.connect() as s:
        s.sendall(b"GET /api/v1/spaces HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).count(b"200 OK") == 3


def a_stalled_viewer_is_dropped(demo, program):
    short = Demo(program, stall_ms=500)
    try:
        short.tell("move")
        lazy, _ = upgrade(short)  # reads nothing at all
        silent, _ = upgrade(short)  # reads, but acknowledges nothing
        update(silent)
        began = time.monotonic()
        assert is_dropped(silent)
        assert time.monotonic() - began < 15, "it was the unanswered ping that ended it"
        good, _ = upgrade(short)
        for _ in range(10):
            ack(good, update(good)[0])
        while json.loads(ask(short, "/api/v1/spaces")[2])["spaces"][0]["viewers"] != 1:
            ack(good, update(good)[0])
        lazy.close()
    finally:
        short.stop()


def a_taken_port_is_an_error(demo, program):
    child = subprocess.run([program, f"127.0.0.1:{demo.port}"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=TIMEOUT_S)
    assert child.returncode == 1 and "port" in child.stderr, child


TESTS = [routes_answer_with_safe_headers, spaces_are_listed,
         head_has_no_body_and_other_methods_get_405, files_are_kept_by_their_tag,
         names_are_decoded_once_and_bounded, hostile_requests_harm_nobody,
         sockets_need_the_protocol_path_and_origin, a_viewer_gets_state_picture_and_refresh,
         the_pointer_goes_with_its_picture, two_updates_without_acknowledgement_and_no_more,
         what_viewers_may_not_say_ends_them,
         readers_of_the_list_hear_of_changes, a_full_space_says_so,
         more_sockets_than_allowed_are_closed_at_once, requests_in_a_row_on_one_connection,
         a_stalled_viewer_is_dropped, a_taken_port_is_an_error]


def main():
    failed = 0
    print(f"1..{len(TESTS)}")
    for i, test in enumerate(TESTS, 1):
        demo = Demo(sys.argv[1])
        try:
            wants_program = test.__code__.co_argcount == 2
            test(demo, *sys.argv[1:] if wants_program else ())
            demo.stop()
            print("ok", i, test.__name__, flush=True)
        except Exception:
            failed += 1
            demo.child.kill()
            print("not ok", i, test.__name__)
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
    return 1 if failed else 0


sys.exit(main())
