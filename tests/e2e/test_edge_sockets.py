"""causeway-edge with sockets that a service manager opened for it (sd_listen_fds(3))."""
import contextlib
import os
import signal
import socket

import pytest

import turn_client as tc
from conftest import TIMEOUT_S, Program

pytestmark = pytest.mark.sanitized
EDGE, OTHER = "127.0.0.2", "127.0.0.5"
# What systemd does between fork and exec. Python may use low descriptors itself until then.
EXEC = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for to, fd in enumerate(fds, 3):
    os.dup2(fd, to)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join("abcdef"[:len(fds)]),
                  LISTEN_PID=str(os.getpid() + int(sys.argv[2])))
os.execv(sys.argv[3], sys.argv[3:])
"""


def opened_socket(kind, host=EDGE, port=0):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    s.bind((host, port))
    if kind == socket.SOCK_STREAM:
        s.listen()
    return s


@pytest.fixture
def both():
    """both(host): a TCP and a UDP socket on one port of it."""
    with contextlib.ExitStack() as stack:
        def make(host=EDGE):
            for _ in range(20):
                tcp = stack.enter_context(opened_socket(socket.SOCK_STREAM, host))
                with contextlib.suppress(OSError):
                    return tcp, stack.enter_context(
                        opened_socket(socket.SOCK_DGRAM, host, tcp.getsockname()[1]))
            pytest.fail("no port that both have free")
        yield make


@pytest.fixture
def start(build, request):
    """start(sockets, *options): the program; they are closed here."""
    request.node.programs = []

    def run(sockets, *options, pid_off=0):
        fds = [s.fileno() for s in sockets]
        p = Program("/usr/bin/python3", [
            "-c", EXEC, ",".join(map(str, fds)), pid_off, build / "cmd/edge/causeway-edge",
            "--user", "turn:secret", "--realm", "TANDBERG", "--log", "json", "--drain-limit", "0",
            "--peer-allow", "127.0.0.0/8", *options], pass_fds=fds)
        request.node.programs.append(p)
        for s in sockets:
            s.close()
        return p

    yield run
    for p in request.node.programs:
        assert p.stop() != 77, "\n".join(p.lines)


def ask_udp(server):
    request = b"\0\1\0\0" + tc.COOKIE.to_bytes(4, "big") + b"t" * 12
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT_S)
        s.sendto(request, server)
        assert s.recv(2000)[8:20] == b"t" * 12


def listening(program):
    program.wait_event("ready")
    return {e["addr"]: e["inherited"] for e in program.events if e["event"] == "listening"}


def name(sock):
    return "{}:{}".format(*sock.getsockname())


def test_without_a_listen_line_they_are_served_as_they_are(both, start):
    first, second = both(), both(OTHER)
    want = {name(s[0]): "udp,tcp" for s in (first, second)}
    servers = [s[0].getsockname() for s in (first, second)]
    # Whoever comes before it has started waits for it.
    early = socket.create_connection(servers[0], TIMEOUT_S)
    program = start([*first, *second])
    assert listening(program) == want
    with early:
        early.sendall(b"\0\1\0\0" + tc.COOKIE.to_bytes(4, "big") + b"t" * 12)
        assert early.recv(100)
    for server in servers:
        ask_udp(server)
        with contextlib.closing(tc.Turn(server)) as client:
            client.allocate()
    program.process.send_signal(signal.SIGHUP)
    program.wait_event("reloaded")
    ask_udp(servers[1])


def test_what_is_missing_is_opened(both, start):
    tcp, udp = both()
    want, server = {name(tcp): "tcp"}, tcp.getsockname()
    udp.close()
    program = start([tcp])
    assert listening(program) == want
    ask_udp(server)


def test_they_are_matched_with_the_listen_lines(both, start, tmp_path):
    tcp, udp = both()
    other_tcp, other_udp = both(OTHER)
    want = {name(other_tcp): "udp,tcp", name(tcp): "udp"}
    conf = tmp_path / "edge.conf"
    conf.write_text(f"listen = {EDGE}:0\nlisten = {name(tcp)}\n[realm.north]\n"
                    f"listen = {name(other_tcp)}\nuser = turn:ice\n")
    server, north = tcp.getsockname(), other_tcp.getsockname()
    tcp.close()
    got = listening(start([other_udp, udp, other_tcp], "-c", conf))
    free = next(at for at in got if at not in want)
    assert got == want | {free: "none"}
    ask_udp(server)
    with contextlib.closing(tc.Turn(north, password="ice", realm=b"north")) as client:
        client.allocate()


def test_those_for_another_process_are_none_of_ours(both, start):
    program = start(both(), "--listen", f"{OTHER}:0", pid_off=1)
    assert list(listening(program).values()) == ["none"]


def unix_socket():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind("")  # an abstract name that is free
    s.listen()
    return s


def idle_tcp():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.bind((EDGE, 0))
    return s


def dual_stack():
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", 0))
    s.listen()
    return s


@pytest.mark.parametrize("make, options, words", [
    (unix_socket, [], "descriptor 4 (b) is no TCP or UDP socket with an address"),
    (idle_tcp, [], "descriptor 4 (b) does not listen: Accept= must be off"),
    (dual_stack, [], "descriptor 4 (b) takes IPv4 too: set BindIPv6Only=ipv6-only"),
    (lambda: open(os.devnull, "rb"), [], "descriptor 4 (b) is no socket"),
    (lambda: opened_socket(socket.SOCK_STREAM), ["--listen", f"{OTHER}:0"],
     "which the service manager opened, is not among these addresses")])
def test_what_cannot_be_served_is_named(start, make, options, words):
    program = start([opened_socket(socket.SOCK_STREAM), make()], *options)
    assert program.wait() == 2
    assert any(words in line for line in program.lines), list(program.lines)
