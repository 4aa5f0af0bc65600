"""The whole walkthrough: `causeway demo --once`, and what its capture must show."""
import json
import re
import shutil
import subprocess

import pytest

from conftest import TOP, free_port

DEMO_S = 90
EDGE, MEET = "10.48.54.229", "10.48.54.230"


@pytest.fixture(scope="module")
def run(build, tmp_path_factory):
    """One run of the demonstration for all the tests here; its output goes with a failure."""
    out = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [build / "cmd" / "causeway" / "causeway", "demo", "--once", "--out", out,
         "--port", str(free_port())],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEMO_S, check=False)
    if "does not let this user make network namespaces" in done.stderr:
        pytest.skip("no network namespaces for this user here")
    return done, out


def tshark(pcap, show, *fields):
    """Rows of fields of the packets that the display filter lets through."""
    if not shutil.which("tshark"):
        pytest.skip("no tshark here")
    args = ["tshark", "-r", str(pcap), "-Y", show, "-T", "fields", "-E", "occurrence=f"]
    for f in fields:
        args += ["-e", f]
    done = subprocess.run(args, capture_output=True, text=True, timeout=DEMO_S, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_the_picture_is_what_was_shared(run):
    done, out = run
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((out / "result.json").read_text())
    assert result["ok"] is True
    assert result["psnr_db"] >= 35
    assert 0 < result["first_picture_ms"] < 30000
    assert len(result["steps"]) == 14
    assert all(set(s) == {"name", "ms"} and s["ms"] >= 0 for s in result["steps"])
    for name in ("screen.png", "picture.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


# STUN types (RFC 8489 5): class bits 0x0110, the rest is the method.
ALLOCATE, REFRESH, BIND_CONN, ATTEMPT, BINDING = 0x003, 0x004, 0x00B, 0x00C, 0x001
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110


@pytest.fixture(scope="module")
def stun(run):
    """The STUN messages that tshark reads: (stream, source, type, row of the rest)."""
    done, out = run
    assert done.returncode == 0, done.stdout + done.stderr
    rows = tshark(out / "demo.pcap", "stun", "tcp.stream", "ip.src", "stun.type",
                  "stun.att.error.class", "stun.att.error", "stun.att.realm",
                  "stun.att.username", "stun.att.nonce", "stun.att.transp", "stun.att.lifetime",
                  "stun.att.ipv4", "tcp.payload")
    return [(int(r[0]), r[1], int(r[2], 16), r[3:]) for r in rows]


def connection_id(payload):
    """CONNECTION-ID (RFC 6062 6.2.1) of the message at the head; tshark does not show it."""
    raw, at = bytes.fromhex(payload.replace(":", "")), 20
    while at + 4 <= len(raw):
        kind, size = int.from_bytes(raw[at:at + 2], "big"), int.from_bytes(raw[at + 2:at + 4], "big")
        if kind == 0x002A:
            return raw[at + 4:at + 4 + size]
        at += 4 + (size + 3) // 4 * 4
    return None


def first_type(stun, kind):
    return next(m for m in stun if m[2] == kind)


def test_the_control_connection_is_the_notes(stun):
    control = stun[0][0]
    wanted = [(MEET, ALLOCATE | REQUEST), (EDGE, ALLOCATE | ERROR), (MEET, ALLOCATE | REQUEST),
              (EDGE, ALLOCATE | SUCCESS), (MEET, REFRESH | REQUEST), (EDGE, REFRESH | SUCCESS),
              (EDGE, ATTEMPT | INDICATION)]
    # Permissions are asked for somewhere in between; the note's own sequence is kept in order.
    seen = [(src, kind) for stream, src, kind, _ in stun if stream == control]
    rest = iter(seen)
    missing = [w for w in wanted if w not in rest]
    assert not missing, f"not in this order: {missing} in {seen}"
    assert seen[:4] == wanted[:4]


def test_the_messages_say_what_the_notes_do(stun):
    requests = [m[3] for m in stun if m[2] == ALLOCATE | REQUEST]
    error = first_type(stun, ALLOCATE | ERROR)[3]
    assert requests[0][3] == "" and requests[0][4] == "", "the first comes without credentials"
    assert int(requests[0][5], 0) == 6, "TCP is asked for"
    assert (error[0], error[1]) == ("4", "1")
    assert error[2] == "TANDBERG" and error[4]
    assert requests[1][3] == "turn" and requests[1][2] == "TANDBERG"
    assert requests[1][4] == error[4], "the nonce it was given"
    assert int(first_type(stun, ALLOCATE | SUCCESS)[3][6]) > 0
    bind = first_type(stun, BIND_CONN | REQUEST)[3]
    assert bind[3] == "turn" and bind[4] == error[4], "one nonce serves both connections"
    assert first_type(stun, ATTEMPT | INDICATION)[3][7] == "192.168.1.252"


def test_the_peers_connection_is_bound_on_a_second_connection(stun):
    control = stun[0][0]
    bound = [(stream, src, kind) for stream, src, kind, _ in stun
             if kind in (BIND_CONN | REQUEST, BIND_CONN | SUCCESS)]
    data = bound[0][0]
    assert data != control
    assert (data, MEET, BIND_CONN | REQUEST) in bound and (data, EDGE, BIND_CONN | SUCCESS) in bound
    told = connection_id(first_type(stun, ATTEMPT | INDICATION)[3][8])
    assert told and told == connection_id(first_type(stun, BIND_CONN | REQUEST)[3][8])


def payloads(pcap, stream, source):
    """What one side sent on one connection, put together by tshark in order."""
    rows = tshark(pcap, f"tcp.stream == {stream} and ip.src == {source} and tcp.len > 0 "
                        "and not tcp.analysis.retransmission", "tcp.seq", "tcp.payload")
    rows.sort(key=lambda r: int(r[0]))
    return b"".join(bytes.fromhex(p.replace(":", "")) for _, p in rows)


def framed_types(stream):
    """Types of the STUN messages behind RFC 4571 framing, after the bare one at the head."""
    at = 20 + int.from_bytes(stream[2:4], "big")
    kinds = []
    while at + 10 <= len(stream):
        size = int.from_bytes(stream[at:at + 2], "big")
        if stream[at + 6:at + 10] == b"\x21\x12\xa4\x42":
            kinds.append(stream[at + 2:at + 4])
        at += 2 + size
    return kinds


def test_the_data_connection_has_checks_and_answers_both_ways(run, stun):
    data = {stream for stream, _, kind, _ in stun if kind == BIND_CONN | SUCCESS}
    both = {side: set() for side in (EDGE, MEET)}
    for stream in data:
        for side in both:
            both[side].update(framed_types(payloads(run[1] / "demo.pcap", stream, side)))
    for side, kinds in both.items():
        assert b"\x00\x01" in kinds, f"no Binding request from {side}"
        assert b"\x01\x01" in kinds, f"no Binding success from {side}"


def sizes_in_the_page():
    """The rows of docs/walkthrough.md's two tables of messages: [[(source, bytes), ...], ...]"""
    text = (TOP / "docs" / "walkthrough.md").read_text()
    tables = re.findall(r"^\| message \| from \| bytes .*?\n\n", text, re.M | re.S)
    return [[(EDGE if side == "E" else MEET, int(size)) for side, size in
             re.findall(r"^\| [^|]+ \| ([EM]) \| (\d+) ", t, re.M)] for t in tables]


def message_sizes(stream):
    """Bytes of each message of a data connection: bare STUN at the head, then frames."""
    sizes, at = [20 + int.from_bytes(stream[2:4], "big")], 20 + int.from_bytes(stream[2:4], "big")
    while at + 2 <= len(stream):
        sizes.append(2 + int.from_bytes(stream[at:at + 2], "big"))
        at += sizes[-1]
    return sizes


def test_the_documented_sizes_are_the_captures(run, stun):
    control, data = sizes_in_the_page()
    pcap = run[1] / "demo.pcap"
    keepalive = (MEET, 28)  # comes after 5 s; the run ends before
    assert control[-1] == keepalive
    rows = tshark(pcap, f"stun and tcp.stream == {stun[0][0]}", "ip.src", "tcp.len")
    seen = [(src, int(size)) for src, size in rows if (src, int(size)) != keepalive]
    assert seen[:len(control) - 1] == control[:-1]
    stream = next(m[0] for m in stun if m[2] == BIND_CONN | SUCCESS)
    for side in (EDGE, MEET):
        wanted = [size for src, size in data if src == side]
        got = message_sizes(payloads(pcap, stream, side))[:len(wanted)]
        # Checks and answers of the two sides cross; RDP comes after them.
        assert sorted(got) == sorted(wanted), f"{side}: {got}, documented: {wanted}"


def test_nothing_is_left_behind(run):
    _, out = run
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(out) not in left.stdout
