"""How causeway-edge is run: control socket, drain, reload, metrics, service manager, sandbox."""
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import turn_client as tc
from conftest import TIMEOUT_S
from test_edge_turn import (  # noqa: F401 (opened is a fixture)
    EDGE, PEER, attempt_of, joined, opened, pattern, peer_to)

pytestmark = pytest.mark.sanitized

CONF = """\
listen = {edge}:0
realm = TANDBERG
user-file = users
peer-allow = 127.0.0.0/8
log = json
"""


class Edge:
    """A running edge with a configuration file, and its control socket."""

    def __init__(self, programs, build, folder, *more, **popen):
        self.path = build / "cmd/edge/causeway-edge"
        self.socket = folder / "edge.sock"
        self.conf, self.users = folder / "edge.conf", folder / "users"
        if not self.conf.exists():
            self.conf.write_text(CONF.format(edge=EDGE))
            self.users.write_text("turn:secret\nother:secret2\n")
        self.program = programs("edge", "-c", self.conf, "--control", self.socket, *more, **popen)
        at = self.program.wait_event("listening")["addr"]
        self.address = EDGE, int(at.rsplit(":", 1)[1])
        self.program.wait_event("ready")

    def ctl(self, *words):
        return subprocess.run([self.path, "ctl", "--control", self.socket, *words],
                              capture_output=True, text=True, timeout=TIMEOUT_S)

    def ask(self, *words):
        """The answer, as JSON; the verb must succeed."""
        got = self.ctl(*words, "--json")
        assert got.returncode == 0, got.stdout + got.stderr
        return json.loads(got.stdout)

    def sessions(self):
        return self.ask("sessions")["sessions"]

    def raw(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(TIMEOUT_S)
        s.connect(str(self.socket))
        return s


@pytest.fixture
def edge(programs, build, tmp_path):
    def start(*more, **popen):
        return Edge(programs, build, tmp_path, *more, **popen)
    return start


def ended(sock):
    """The other side closed it, in whatever way."""
    sock.settimeout(TIMEOUT_S)
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(1) == b""
    return True


def test_sessions_name_who_came_from_where(edge, opened):
    e = edge()
    assert e.sessions() == []
    control = opened(tc.Turn(e.address))
    relay = control.allocate()
    opened(tc.Turn(e.address, user="other", password="secret2")).allocate(tc.UDP)
    by_user = {s["user"]: s for s in e.sessions()}
    assert set(by_user) == {"turn", "other"}
    s = by_user["turn"]
    assert s["relay"] == "%s:%d" % relay and s["transport"] == "tcp"
    assert s["client"] == "%s:%d" % control.s.getsockname()
    assert by_user["other"]["transport"] == "udp"
    table = e.ctl("sessions").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "USER", "CLIENT"] and len(table) == 3
    assert any(s["id"] in row and s["relay"] in row for row in table)


def test_one_session_shows_its_connections_and_bytes(edge, opened):
    e = edge()
    _, peer, data = joined(e.address, opened)
    peer.sendall(b"x" * 1000)
    assert data.exactly(1000)
    data.s.sendall(b"y" * 10)
    assert peer.recv(10)
    [s] = e.sessions()
    one = e.ask("session", s["id"])["session"]
    assert (one["to_client"], one["to_peers"]) == (1000, 10)
    [link] = one["links"]
    assert link["bound"] and link["peer"] == "%s:%d" % peer.getsockname()
    assert (link["to_client"], link["to_peer"]) == (1000, 10)
    assert link["peer"] in e.ctl("session", s["id"]).stdout


def test_kick_frees_the_relay_and_all_connections(edge, opened):
    e = edge()
    control, peer, data = joined(e.address, opened)
    [s] = e.sessions()
    relay = s["relay"].rsplit(":", 1)
    assert e.ctl("kick", s["id"]).returncode == 0
    assert ended(control.s) and ended(peer) and ended(data.s)
    assert e.sessions() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((relay[0], int(relay[1])), TIMEOUT_S)
    stats = e.ask("stats")["stats"]
    assert (stats["allocations"], stats["links"], stats["permissions"]) == (0, 0, 0)
    again = e.ctl("kick", s["id"])
    assert again.returncode == 1 and "no such session" in again.stderr
    e.program.wait_event("kick", id=s["id"])


def test_one_id_follows_an_allocation_and_one_each_connection(edge, opened):
    e = edge("--log-level", "debug")
    control, peer, data = joined(e.address, opened)
    control.close()
    e.program.wait_event("release")
    events = {x["event"]: x for x in e.program.events}
    alloc = events["alloc"]
    for name in ("permission", "attempt", "bind", "close", "release"):
        assert events[name]["id"] == alloc["id"], name
    assert events["attempt"]["link"] == events["bind"]["link"] == events["close"]["link"]
    opened_ids = [x["conn"] for x in e.program.events if x["event"] == "client"]
    assert [alloc["conn"], events["bind"]["conn"]] == opened_ids
    ids = {alloc["id"], events["bind"]["link"], *opened_ids}
    assert len(ids) == 4, "ids of different things differ"


def test_names_cannot_play_with_the_terminal(edge, opened):
    e = edge()
    e.users.write_bytes("turn:secret\n\x1b[2Jé:p\n".encode())
    assert e.ctl("reload").returncode == 0
    opened(tc.Turn(e.address, user="\x1b[2Jé", password="p")).allocate()
    assert e.sessions()[0]["user"] == "\x1b[2Jé"
    assert "\x1b" not in e.ctl("sessions").stdout


@pytest.mark.parametrize("bytes_, closes", [
    (b"nonsense\n", False), (b"[1,2]\n", False), (b"{}\n", False), (b"\0\xff\n", False),
    (b'{"do":"kick"}\n', False), (b'{"do":"kick","id":7}\n', False),
    (b'{"do":"kick","id":"zz"}\n', False), (b'{"do":"kick","id":"ffffffffffffffff"}\n', False),
    (b'{"do":"session","id":"%s"}\n' % (b"1" * 400), False),
    (b'{"do":"sessions","after":{}}\n', False), (b"[" * 4000 + b"\n", False),
    (b'{"do":"stats","do":"drain"}\n', False), (b"x" * 5000, True)])
def test_hostile_lines_are_refused(edge, bytes_, closes):
    e = edge()
    with e.raw() as s:
        s.sendall(bytes_)
        if closes:
            assert ended(s)
        else:
            answer = json.loads(s.makefile().readline())
            assert answer["ok"] is False and answer["error"]
    assert e.ask("stats")["ok"] is True


def test_the_control_socket_is_bounded(edge):
    e = edge()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(e.raw()) for _ in range(40)]
        # Beyond 16 they are closed; those that are served still are.
        assert all(ended(s) for s in silent[16:])
        # Somebody who asks and never reads: what is kept for him has an end.
        silent[0].settimeout(1)
        with contextlib.suppress(TimeoutError, OSError):
            for _ in range(100000):
                silent[0].sendall(b'{"do":"stats"}\n' * 100)
        silent[1].sendall(b'{"do":"stats"}\n')
        assert json.loads(silent[1].makefile().readline())["ok"]
    assert os.stat(e.socket).st_mode & 0o777 == 0o600


def test_a_dead_edges_socket_is_replaced_and_a_live_ones_is_not(edge, build):
    e = edge()
    second = subprocess.run([e.path, "-c", e.conf, "--control", e.socket],
                            capture_output=True, text=True, timeout=TIMEOUT_S)
    assert second.returncode == 1 and "another program serves there" in second.stdout + second.stderr
    assert e.ask("stats")["ok"]
    e.program.process.kill()
    e.program.wait()
    assert e.socket.exists()
    assert edge().ask("stats")["ok"]


def test_ctl_says_what_is_wrong(build, tmp_path):
    path = build / "cmd/edge/causeway-edge"
    for words, status, text in [(["nonsense"], 2, "Usage"), (["kick"], 2, "Usage"), ([], 2, "Usage"),
                                (["--control", tmp_path / "no", "stats"], 1, "does the edge run"),
                                (["--help"], 0, "sessions")]:
        got = subprocess.run([path, "ctl", *words], capture_output=True, text=True,
                             timeout=TIMEOUT_S)
        assert got.returncode == status and text in got.stdout + got.stderr


def test_drain_refuses_new_lets_old_finish_and_ends(edge, opened):
    e = edge()
    control, peer, data = joined(e.address, opened)
    assert e.ask("drain")["allocations"] == 1
    fresh = opened(tc.Turn(e.address, nonce=control.nonce))
    assert fresh.ask(tc.ALLOCATE, (tc.TRANSPORT, b"\6\0\0\0")).code == 508
    e.program.wait_event("deny", code=508, why="draining")
    peer.sendall(b"still here")
    assert data.exactly(10) == b"still here"
    # A new peer connection of the old allocation too.
    relay = e.sessions()[0]["relay"].rsplit(":", 1)
    peer_to((relay[0], int(relay[1])), opened)
    attempt_of(control)
    assert control.ask(tc.REFRESH, (tc.LIFETIME, b"\0\0\0\0")).code == 0
    assert e.program.wait() == 0
    assert e.program.wait_event("stopped")["allocations"] == 0
    assert not e.socket.exists()


def test_sigterm_without_allocations_ends_at_once(edge):
    e = edge("--drain-limit", "3600")
    e.program.process.terminate()
    assert e.program.wait() == 0


def test_sigterm_drains_for_a_while_and_a_second_one_ends(edge, opened):
    e = edge("--drain-limit", "1")
    opened(tc.Turn(e.address)).allocate()
    e.program.process.terminate()
    e.program.wait_event("draining", allocations=1)
    assert e.program.wait() == 0 and e.program.wait_event("stopped")["allocations"] == 1
    e = edge("--drain-limit", "3600")
    control = opened(tc.Turn(e.address))
    control.allocate()
    e.program.process.terminate()
    e.program.wait_event("draining", allocations=1)
    assert control.ask(tc.REFRESH, (tc.LIFETIME, b"\0\0\2\x58")).code == 0
    e.program.process.terminate()
    assert e.program.wait() == 0


def asked(e, opened, **who):
    """The code of an Allocate."""
    t = opened(tc.Turn(e.address, **who))
    want = (tc.TRANSPORT, b"\6\0\0\0")
    t.nonce = t.ask(tc.ALLOCATE, want, signed=False).attrs[tc.NONCE]
    return t.ask(tc.ALLOCATE, want).code


@pytest.mark.parametrize("how", ["SIGHUP", "ctl"])
def test_reload_changes_users_and_policy_under_a_running_stream(edge, opened, how):
    e = edge()
    control, peer, data = joined(e.address, opened)
    text = pattern(8 * 1024 * 1024, b"reload")
    sender = threading.Thread(target=peer.sendall, args=(text,))
    sender.start()
    got = data.exactly(1024 * 1024)
    assert control.permit("127.0.0.9") == 0
    assert asked(e, opened, user="third", password="3") == 401
    e.users.write_text("turn:secret\nthird:3\n")
    e.conf.write_text(CONF.format(edge=EDGE) + "peer-deny = 127.0.0.9\nlog-level = debug\n"
                      "max-channels = 5\n")
    if how == "SIGHUP":
        e.program.process.send_signal(signal.SIGHUP)
    else:
        assert e.ctl("reload").returncode == 0
    assert e.program.wait_event("reloaded")["users"] == 2
    assert e.program.wait_event("reload-ignored")["key"] == "max-channels"
    assert asked(e, opened, user="third", password="3") == 0
    assert asked(e, opened, user="other", password="secret2") == 401
    assert control.permit("127.0.0.9") == 403
    e.program.wait_event("client", level="debug")
    got += data.exactly(len(text) - len(got))
    sender.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(text).digest()
    assert len(e.sessions()) == 2


@pytest.mark.parametrize("conf, users, words", [
    ("listen = nonsense\n", "turn:new\n", ["edge.conf:6", "listen"]),
    ("peer-deny = 10.0.0.1/8\n", "turn:new\n", ["edge.conf:6", "peer-deny"]),
    ("no-such = 1\n", "turn:new\n", ["edge.conf:6", "no-such"]),
    ("", "turn:new\nnonsense\n", ["users:2"]),
    ("", "", ["nobody could allocate"]),
])
def test_a_bad_reload_changes_nothing_and_says_what_is_wrong(edge, opened, conf, users, words):
    e = edge()
    e.conf.write_text(CONF.format(edge=EDGE) + conf)
    e.users.write_text(users)
    got = e.ctl("reload")
    assert got.returncode == 1
    assert all(w in got.stderr for w in words), got.stderr
    assert all(w in e.program.wait_event("reload-failed")["why"] for w in words)
    assert asked(e, opened) == 0 and asked(e, opened, password="new") == 401


def http(address, request):
    """All that comes back."""
    with socket.create_connection(address, TIMEOUT_S) as s:
        s.sendall(request)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while more := s.recv(65536):
                got += more
        return got


@pytest.fixture
def measured(edge):
    """(edge, where its metrics are)"""
    e = edge("--metrics", "127.0.0.1:0")
    at = e.program.wait_event("metrics-listening")["addr"]
    return e, ("127.0.0.1", int(at.rsplit(":", 1)[1]))


def page_of(address):
    head, _, body = http(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"version=0.0.4" in head
    assert b"Content-Length: %d\r\n" % len(body) in head
    return body.decode()


LABEL = r'[a-z_]+="[^"\\\n]*"'
SAMPLE = re.compile(rf"(causeway_[a-z_]+)(\{{{LABEL}(?:,{LABEL})*\}})? (\d+)")


def figures(address):
    """{name with labels: value}; the exposition format is checked on the way."""
    out, kinds = {}, {}
    text = page_of(address)
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert re.fullmatch(r"# HELP causeway_[a-z_]+ \S.*", line)
        elif line.startswith("# TYPE "):
            name, kind = re.fullmatch(r"# TYPE (causeway_[a-z_]+) (gauge|counter)", line).groups()
            assert name not in kinds and name.endswith("_total") == (kind == "counter")
            kinds[name] = kind
        else:
            m = SAMPLE.fullmatch(line)
            assert m, line
            assert list(kinds)[-1] == m[1], "a sample stands below its TYPE"
            key = m[1].removeprefix("causeway_") + (m[2] or "")
            assert key not in out
            out[key] = int(m[3])
    return out


def test_metrics_move_by_what_was_done(measured, opened):
    e, at = measured
    before = figures(at)
    control, peer, data = joined(e.address, opened)
    peer.sendall(b"x" * 5000)
    assert data.exactly(5000)
    data.s.sendall(b"y" * 70)
    assert peer.recv(70)
    assert control.permit("10.0.0.1") == 403
    assert asked(e, opened, password="guess") == 401
    udp = opened(tc.Turn(e.address))
    relay = udp.allocate(tc.UDP)
    assert udp.permit(PEER) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind((PEER, 0))
        for n in (100, 200):
            far.sendto(b"z" * n, relay)
            # A Data indication: head, XOR-PEER-ADDRESS, DATA.
            assert udp.exactly(20 + 12 + 4 + n).endswith(b"z" * n)
    now = figures(at)
    moved = {k: v - before.get(k, 0) for k, v in now.items() if v != before.get(k, 0)}
    moved.pop("uptime_seconds", None)
    assert moved == {
        "allocations": 2, "allocations_total": 2, "permissions": 2, "client_connections": 3,
        "peer_connections": 1, "auth_failures_total": 1,
        'requests_total{method="allocate",result="success"}': 2,
        'requests_total{method="allocate",result="401"}': 4,
        'requests_total{method="create-permission",result="success"}': 2,
        'requests_total{method="create-permission",result="403"}': 1,
        'requests_total{method="connection-bind",result="success"}': 1,
        'refusals_total{reason="no credentials"}': 3,
        'refusals_total{reason="wrong password"}': 1, 'refusals_total{reason="private"}': 1,
        'relayed_bytes_total{relay="tcp",to="client"}': 5000,
        'relayed_bytes_total{relay="tcp",to="peer"}': 70,
        'relayed_bytes_total{relay="udp",to="client"}': 300,
        'relayed_packets_total{relay="udp",to="client"}': 2,
    }
    control.close()
    e.program.wait_event("release")
    after = figures(at)
    assert after["allocations"] == 1 and after["peer_connections"] == 0
    # What ended still counts.
    assert after['relayed_bytes_total{relay="tcp",to="client"}'] == 5000


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
def test_promtool_finds_nothing_to_complain_about(measured, opened):
    e, at = measured
    joined(e.address, opened)
    got = subprocess.run(["promtool", "check", "metrics"], input=page_of(at), text=True,
                         capture_output=True, timeout=TIMEOUT_S)
    assert got.returncode == 0 and not got.stderr.strip(), got.stdout + got.stderr


@pytest.mark.parametrize("request_, status", [
    (b"GET / HTTP/1.1\r\n\r\n", b"404"), (b"GET /metrics/ HTTP/1.1\r\n\r\n", b"404"),
    (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405"),
    (b"GET /metrics\r\n\r\n", b"400"), (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
    (b"GET  /metrics HTTP/1.1\r\n\r\n", b"200"), (b"GET /metrics?a=b HTTP/1.1\r\n\r\n", b"200"),
    (b"\r\n\r\n", b"400"), (b"\0\xff\r\n\r\n", b"400"), (b"\x16\x03\x01" * 1500, b"431"),
    (b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 1000, b"431"), (b"x" * 100000, b"431")])
def test_the_metrics_port_answers_or_refuses(measured, request_, status):
    e, at = measured
    assert http(at, request_).startswith(b"HTTP/1.1 " + status)
    assert figures(at)["allocations"] == 0


def test_head_has_no_body_and_bytes_may_trickle(measured):
    _, at = measured
    head = http(at, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and head.endswith(b"\r\n\r\n")
    with socket.create_connection(at, TIMEOUT_S) as s:
        for b in b"GET /metrics HTTP/1.0\r\n\r\n":
            s.sendall(bytes([b]))
        assert s.recv(12) == b"HTTP/1.1 200"


def test_silent_clients_of_metrics_are_few_and_short_lived(measured):
    _, at = measured
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(at, TIMEOUT_S)) for _ in range(20)]
        assert all(ended(s) for s in silent[16:])
        assert all(ended(s) for s in silent), "after 5 s"
    assert figures(at)["allocations"] == 0


def test_metrics_stay_on_loopback_unless_told(build):
    path = build / "cmd/edge/causeway-edge"
    usual = [path, "--check", "--listen", f"{EDGE}:0", "--user", "a:b", "--metrics"]
    for more, status in [(["0.0.0.0:9641"], 2), (["192.0.2.1:9641"], 2), (["8.8.8.8:9641"], 2),
                         (["[::1]:9641"], 0), (["0.0.0.0:9641", "--metrics-anywhere"], 0)]:
        got = subprocess.run([*usual, *more], capture_output=True, text=True, timeout=TIMEOUT_S)
        assert got.returncode == status, (more, got.stderr)
        assert status == 0 or "loopback" in got.stderr


@pytest.fixture
def manager(tmp_path):
    """A service manager's socket: (its name, expect(words))"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT_S)
        s.bind(str(tmp_path / "notify"))

        def expect(words):
            got = s.recv(4096).decode()
            while got == "WATCHDOG=1" != words:
                got = s.recv(4096).decode()
            assert got == words
        yield str(tmp_path / "notify"), expect


def test_the_service_manager_is_told(edge, opened, manager):
    path, expect = manager
    e = edge("--drain-limit", "3600", env=dict(os.environ, NOTIFY_SOCKET=path))
    expect("READY=1")
    e.program.process.send_signal(signal.SIGHUP)
    expect("RELOADING=1")
    expect("READY=1")
    control = opened(tc.Turn(e.address))
    control.allocate()
    e.program.process.terminate()
    expect("STOPPING=1")
    control.close()
    assert e.program.wait() == 0


def test_the_watchdog_is_fed(edge, manager):
    path, expect = manager
    e = edge(env=dict(os.environ, NOTIFY_SOCKET=path, WATCHDOG_USEC="100000"))
    expect("READY=1")
    for _ in range(3):
        expect("WATCHDOG=1")
    assert e.ask("stats")["ok"]


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_the_sandbox_is_on_unless_it_is_turned_off(edge):
    e = edge()
    status = status_of(e.program.pid)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert e.program.stop() == 0
    e = edge("--sandbox=off")
    assert status_of(e.program.pid)["Seccomp"] == status_of("self")["Seccomp"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_root_is_given_up_for_good(edge, opened, tmp_path):
    os.chmod(tmp_path, 0o755)
    e = edge("--run-as", "nobody")
    status = status_of(e.program.pid)
    uid, gid = (str(x) for x in (65534, 65534))
    assert status["Uid"].split() == [uid] * 4 and status["Gid"].split() == [gid] * 4
    assert status["Groups"].split() in ([], [gid])
    assert status["CapEff"] == status["CapPrm"] == "0" * 16
    assert os.stat(e.socket).st_uid == 65534
    joined(e.address, opened)
    assert e.ctl("sessions").returncode == 0


def test_run_as_must_be_somebody(build):
    path = build / "cmd/edge/causeway-edge"
    for who in ("no-such-user", "root", "nobody:no-such-group", ""):
        got = subprocess.run([path, "--check", "--listen", f"{EDGE}:0", "--user", "a:b", "--run-as",
                              who], capture_output=True, text=True, timeout=TIMEOUT_S)
        assert got.returncode == 2 and "run-as" in got.stderr, who
