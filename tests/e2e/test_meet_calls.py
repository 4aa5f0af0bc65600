"""causeway-meet in calls that go on: taken over, ended by a second offer, too many of them."""
import os
import re
import signal
import socket
import stat

import pytest

from conftest import wait_until
from test_meet import Caller, meet, offer, spaces  # noqa: F401  (meet is a fixture)

pytestmark = pytest.mark.sanitized

# Stands in for causeway-rdp: the first one started shows a grey picture at once, the others none.
VIEWER = """#!/usr/bin/python3
import os, pathlib, socket, struct
control = socket.socket(fileno=4)
control.setblocking(True)
try:
    os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    pass
else:
    control.send(struct.pack("!BHH", 1, 320, 200))
    control.send(struct.pack("!BIBHHHH", 2, 1, 1, 0, 0, 320, 200))
while control.recv(4096):
    pass
"""


@pytest.fixture
def viewer(tmp_path):
    path = tmp_path / "viewer"
    path.write_text(VIEWER.format(mark=str(tmp_path / "mark")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_live_share_is_taken_over_and_its_picture_goes(meet, viewer):
    m = meet("--allow-unencrypted-media", "--rdp-program", viewer)
    assert m.caller.invite("demo", offer())[0] == 200
    pid = m.wait_event("rdp-viewer-start")["pid"]
    wait_until("the first share's picture is there", lambda: spaces(m)["demo"]["width"] == 320)
    second = Caller(m.caller.sock.getpeername())
    assert second.invite("demo", offer())[0] == 200
    m.wait_event("rdp-viewer-exit", pid=pid)
    assert spaces(m)["demo"]["state"] == "connecting"
    assert spaces(m)["demo"]["width"] == 0
    second.close()


def test_the_turn_server_dies_after_the_call(meet, programs):
    edge = programs("edge", "--listen", "127.0.0.1:0", "--realm", "r", "--user", "turn:secret",
                    "--relay-address", "127.0.0.1", "--log", "json")
    m = meet("--allow-unencrypted-media", "--turn", edge.wait_event("listening")["addr"],
             "--turn-user", "turn:secret")
    assert m.caller.invite("demo", offer())[0] == 200
    os.kill(edge.pid, signal.SIGSTOP)  # so that it does not answer when the relay is given back
    m.caller.close()
    m.wait_event("share-ended")
    m.wait_event("rdp-viewer-exit")
    os.kill(edge.pid, signal.SIGKILL)
    m.wait_event("relay-control-closed")


def relays(body):
    return set(re.findall(r"(?m)^a=candidate:\S+ \d \S+ \d+ (\S+) \d+ typ relay", body))


def test_a_full_turn_server_sends_it_to_another(meet, programs):
    def edge(host, *more):
        p = programs("edge", "--listen", f"{host}:0", "--realm", "r", "--user", "turn:secret",
                     "--relay-address", host, "--log", "json", *more)
        return p.wait_event("listening")["addr"]

    second = edge("127.0.0.3")
    first = edge("127.0.0.2", "--max-allocations", "1", "--alternate-server", second)
    options = ("--allow-unencrypted-media", "--turn", first, "--turn-user", "turn:secret")
    one, other = meet(*options), meet(*options)
    status, _, body = one.caller.invite("demo", offer())
    assert status == 200 and relays(body) == {"127.0.0.2"}
    status, _, body = other.caller.invite("demo", offer())
    assert status == 200 and relays(body) == {"127.0.0.3"}
    assert spaces(one)["demo"]["state"] == "connecting"  # who was there first stays


@pytest.mark.parametrize("called", ["demo", "DEMO", "d%65mo", "%44emo"])
def test_a_space_is_found_however_its_uri_is_spelt(meet, called):
    m = meet("--allow-unencrypted-media", "--domain", "Meet.EXAMPLE")
    assert m.caller.invite(called, offer())[0] == 200
    assert spaces(m)["demo"]["state"] == "connecting"


def test_more_shares_than_allowed_are_busy(meet):
    m = meet("--allow-unencrypted-media", "--max-shares", "1")
    assert m.caller.invite("demo", offer())[0] == 200
    second = Caller(m.caller.sock.getpeername())
    status, head, _ = second.invite("other", offer())
    assert status == 486
    assert re.search(r"(?im)^retry-after: *\d+", head)
    assert m.wait_event("share-refused")["why"].find("max-shares") > 0
    assert second.invite("demo", offer())[0] == 200  # takes the place of the first
    m.caller.close()
    second.close()


def test_a_burst_of_calls_does_not_start_a_process_each(meet):
    m = meet("--allow-unencrypted-media", "--max-shares", "4")
    for _ in range(40):
        m.caller.send("INVITE", "demo", offer())
    answers = [m.caller.answer()[0] for _ in range(40)]
    assert 486 in answers and 200 in answers
    started = [e for e in m.events if e["event"] == "rdp-viewer-start"]
    assert len(started) < 40


def again(m, body):
    """A second INVITE in the call that m.caller has: the first one's tag, and its answer."""
    m.caller.n = 1
    status, head, _ = m.caller.invite("demo", offer())
    assert status == 200
    tag = re.search(r"(?im)^to:.*?(;tag=\S+)", head).group(1)
    m.caller.n -= 1  # the same Call-ID
    m.caller.send("INVITE", "demo", body, to_tag=tag, cseq=2)
    return tag, m.caller.answer()


def test_a_second_offer_with_port_0_ends_the_share(meet):
    m = meet("--allow-unencrypted-media")
    tag, (status, _, body) = again(m, offer().replace("sharing 50041", "sharing 0"))
    assert status == 200
    assert re.search(r"(?m)^m=applicationsharing 0 TCP/RTP/AVP 127\r$", body)
    assert m.wait_event("share-ended")["why"] == "the sharer stopped sharing"
    m.caller.send("ACK", "demo", to_tag=tag, cseq=2)
    assert m.caller.message()[0].startswith("BYE ")
    assert spaces(m)["demo"]["state"] == "ended"


def test_a_second_offer_that_cannot_be_taken_leaves_the_share(meet):
    m = meet("--allow-unencrypted-media")
    _, (status, head, _) = again(m, offer(proto="TCP/RTP/SAVP"))
    assert status == 488
    assert re.search(r"(?im)^warning: 399 .*SRTP", head)
    assert m.wait_event("second-offer-refused")["why"]
    assert spaces(m)["demo"]["state"] == "connecting"


def test_what_sip_refuses_by_itself_is_in_the_log(meet):
    m = meet("--allow-unencrypted-media")
    m.caller.sock.sendall(b"INVITE sip:demo@meet.example SIP/2.0\r\n"
                          b"Via: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKx\r\n"
                          b"From: <sip:a@b>;tag=1\r\nTo: <sip:demo@meet.example>\r\n"
                          b"CSeq: 1 INVITE\r\nCall-ID: x\r\nContent-Length: 0\r\n\r\n")
    assert m.caller.answer()[0] == 400
    assert "Contact" in m.wait_event("sip-refused")["why"]


def test_a_share_replaced_before_its_answer_is_480(meet):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # a TURN server that says nothing
        m = meet("--allow-unencrypted-media", "--turn", "127.0.0.1:%d" % deaf.getsockname()[1],
                 "--turn-user", "turn:secret")
        m.caller.send("INVITE", "demo", offer())
        m.wait_event("share-invited")
        second = Caller(m.caller.sock.getpeername())
        second.send("INVITE", "demo", offer())
        status, head, _ = m.caller.answer()
        assert status == 480
        assert re.search(r"(?im)^ms-diagnostics-public: *21000;", head)
        assert second.answer()[0] == 200  # with its host candidates
        second.close()


def test_a_talkative_viewer_does_not_fill_the_log(meet, tmp_path):
    path = tmp_path / "viewer"
    path.write_text("#!/bin/sh\ni=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done\n")
    path.chmod(0o755)
    m = meet("--allow-unencrypted-media", "--rdp-program", path)
    m.caller.invite("demo", offer())
    m.wait_event("rdp-viewer-exit")
    assert 1 <= sum(e["event"] == "rdp-viewer-says" for e in m.events) < 200
