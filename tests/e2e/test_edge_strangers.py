"""causeway-edge and those who have no password: what they can make it hold must be little."""
import contextlib
import os
import re
import resource
import socket
import struct

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, wait_until

pytestmark = pytest.mark.sanitized
EDGE, PEER = "127.0.0.2", "127.0.0.3"
BINDING_REQUEST = struct.pack(">HHI", tc.BINDING, 0, tc.COOKIE) + bytes(12)


@pytest.fixture
def edge(programs):
    """start(*options): (the program, the edge's address)."""
    def start(*more, **popen):
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--user",
                     "turn:secret", "--peer-allow", "127.0.0.0/8", "--log", "json", *more, **popen)
        return p, (EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1]))
    return start


def descriptors(program):
    return len(os.listdir(f"/proc/{program.pid}/fd"))


def peak_mib(program):
    with open(f"/proc/{program.pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) / 1024


def test_those_who_do_not_read_the_answers_are_cut_off(edge):
    # Freed memory that the sanitizer sets aside would count as well.
    quiet = os.environ["ASAN_OPTIONS"] + ":quarantine_size_mb=1"
    program, server = edge(env=os.environ | {"ASAN_OPTIONS": quiet})
    open_before, before = descriptors(program), peak_mib(program)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(TIMEOUT_S)
            s.connect(server)
            with contextlib.suppress(ConnectionError):
                for _ in range(40):
                    s.sendall(BINDING_REQUEST * 4000)
        wait_until("all are cut off", lambda: descriptors(program) == open_before)
    assert peak_mib(program) - before < 20


@pytest.mark.parametrize("hard", [4096, 64])
def test_it_takes_the_descriptors_it_may_have(edge, hard):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    program, server = edge(preexec_fn=limit)
    program.wait_event("few-descriptors", have=hard)
    if hard > 64:
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(server, TIMEOUT_S))
            stack.enter_context(contextlib.closing(tc.Turn(server))).allocate()


def test_it_wants_descriptors_for_the_web_server_too(edge):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    want = [edge(*more, preexec_fn=limit)[0].wait_event("few-descriptors")["want"]
            for more in ([], ["--web-upstream-plain", f"{PEER}:80", "--max-web", "100"])]
    assert want[1] - want[0] == 2 * 100


def test_a_stream_that_is_no_stun_holds_no_descriptor(edge):
    program, server = edge("--max-connections", "4")
    before = descriptors(program)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            s = stack.enter_context(socket.create_connection(server, TIMEOUT_S))
            s.sendall(b"\x80\x60 no STUN, no ChannelData")
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b""
        # They keep their ends open; the edge has nothing to wait for.
        wait_until("their descriptors are free", lambda: descriptors(program) <= before + 4, 2)
