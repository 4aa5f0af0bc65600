"""causeway-meet as a SIP server: what it takes, and how it says no."""
import json
import re
import socket
import ssl
import subprocess
import urllib.request

import pytest

pytestmark = pytest.mark.sanitized

SHARE = """v=0
o=- 0 1 IN IP4 127.0.0.1
s=session
c=IN IP4 127.0.0.1
b=CT:99980
t=0 0
m=applicationsharing 50041 {proto} 127
a=ice-ufrag:Sk4B
a=ice-pwd:oV3m8kqN1fJcY7tRz2Lw5xGd
a=candidate:1 1 TCP-PASS 2120613887 127.0.0.1 50041 typ host
a=candidate:1 2 TCP-PASS 2120613887 127.0.0.1 50041 typ host
a=candidate:2 1 TCP-ACT 2121006591 127.0.0.1 50041 typ host
a=candidate:2 2 TCP-ACT 2121006591 127.0.0.1 50041 typ host
a=rtpmap:127 x-data/90000
a=mid:1
a=setup:active
a=connection:new
a=x-applicationsharing-session-id:1
a=x-applicationsharing-role:{role}
a=x-applicationsharing-media-type:rdp
"""


def offer(proto="TCP/RTP/AVP", role="sharer"):
    return SHARE.format(proto=proto, role=role).replace("\n", "\r\n")


class Caller:
    """A SIP client by hand, over one connection (or one UDP socket)."""

    def __init__(self, address, transport="tcp"):
        if transport == "udp":
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.settimeout(20)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(address, timeout=20)
        if transport == "tls":
            trust = ssl.create_default_context()
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            self.sock = trust.wrap_socket(self.sock)
        self.transport = transport
        self.buffer = b""
        self.n = 0

    def send(self, method, space, body="", kind="application/sdp", to_tag="", cseq=1):
        if method == "INVITE":
            self.n += 1
        here = "%s:%d" % self.sock.getsockname()
        text = (f"{method} sip:{space}@meet.example SIP/2.0\r\n"
                f"Via: SIP/2.0/{self.transport.upper()} {here};branch=z9hG4bK{self.n}{method[0]}{cseq}\r\n"
                f"From: \"Alice\" <sip:alice@sfb.example>;tag=a1;epid=0123456789\r\n"
                f"To: <sip:{space}@meet.example>{to_tag}\r\n"
                f"Max-Forwards: 70\r\nCSeq: {cseq} {method}\r\nCall-ID: call-{self.n}-{here}\r\n"
                f"Contact: <sip:alice@{here};transport={self.transport}>\r\n"
                + (f"Content-Type: {kind}\r\n" if body else "")
                + f"Content-Length: {len(body)}\r\n\r\n{body}")
        self.sock.sendall(text.encode())

    def message(self):
        while True:
            head, mark, rest = self.buffer.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
            n = int(length.group(1)) if length else 0
            if mark and len(rest) >= n:
                self.buffer = rest[n:]
                return head.decode(), rest[:n].decode()
            more = self.sock.recv(65536)
            assert more, "the meeting server closed the connection"
            self.buffer += more

    def answer(self):
        """The final response: (status, head, body)."""
        while True:
            head, body = self.message()
            status = re.match(r"SIP/2\.0 (\d+)", head)
            if status and int(status.group(1)) >= 200:
                return int(status.group(1)), head, body

    def invite(self, space, body, kind="application/sdp"):
        self.send("INVITE", space, body, kind)
        status, head, body = self.answer()
        tag = re.search(r"(?im)^to:.*?(;tag=\S+)", head)
        self.send("ACK", space, to_tag=tag.group(1) if tag else "")
        return status, head, body

    def close(self):
        self.sock.close()


@pytest.fixture
def meet(programs):
    callers = []

    def run(*more):
        m = programs("meet", "--space", "demo", "--space", "other", "--sip", "tcp:127.0.0.1:0",
                  "--web", "127.0.0.1:0", "--media-address", "127.0.0.1", "--log", "json",
                  "--log-level", "debug", *more)
        at = m.wait_event("listening", **{"for": "sip"})["addr"].split(":")
        web = m.wait_event("listening", **{"for": "web"})["addr"]
        m.wait_event("ready")
        m.caller = Caller((at[0], int(at[1])))
        callers.append(m.caller)
        m.url = f"http://{web}"
        return m

    yield run
    for caller in callers:
        caller.close()  # or the server would wait a moment for our side of the connection


@pytest.mark.parametrize("body, kind, status, header", [
    ("hello", "text/plain", 415, r"(?im)^accept:.*application/sdp"),
    ("this is no SDP", "application/sdp", 488, r"(?im)^ms-diagnostics: *52063;"),
    (offer().replace("applicationsharing 5", "audio 5"), "application/sdp", 488,
     r"(?im)^warning: 304 "),
    (offer(role="viewer"), "application/sdp", 488, r"(?im)^warning: 399 .*sharer"),
    (offer(proto="TCP/RTP/SAVP"), "application/sdp", 488, r"(?im)^ms-diagnostics: *52017;"),
    (offer(), "application/sdp", 488, r"(?im)^warning: 399 .*[Uu]nencrypted"),
])
def test_what_it_cannot_take_is_refused_with_a_reason(meet, body, kind, status, header):
    m = meet()  # without --allow-unencrypted-media
    got, head, _ = m.caller.invite("demo", body, kind)
    assert got == status
    assert re.search(header, head), head
    assert m.wait_event("share-refused")["status"] == status


def test_a_space_that_does_not_exist_is_404(meet):
    m = meet("--allow-unencrypted-media")
    assert m.caller.invite("nowhere", offer())[0] == 404


def test_without_its_turn_server_it_answers_with_host_candidates(meet):
    m = meet("--allow-unencrypted-media", "--turn", "127.0.0.1:1", "--turn-user", "turn:secret")
    status, _, body = m.caller.invite("demo", offer())
    assert status == 200
    lines = re.findall(r"(?m)^a=candidate:.*$", body)
    assert len(lines) == 2 and all("typ host" in c and "TCP-PASS" in c for c in lines)
    assert lines[0].replace(" 1 ", " 2 ", 1) == lines[1]  # one connection for both components
    assert "a=x-applicationsharing-role:viewer" in body
    assert "a=setup:passive" in body
    assert "127.0.0.1:1" in m.wait_event("relay-lost").get("server", "127.0.0.1:1")
    m.wait_event("share-without-relay")


def spaces(m):
    with urllib.request.urlopen(f"{m.url}/api/v1/spaces", timeout=20) as r:
        listed = json.load(r)
    return {s["name"]: s for s in (listed["spaces"] if isinstance(listed, dict) else listed)}


def test_the_page_follows_the_call(meet):
    m = meet("--allow-unencrypted-media", "--domain", "meet.example")
    assert spaces(m)["demo"]["state"] == "waiting"
    assert spaces(m)["demo"]["detail"] == "To share a screen here, call sip:demo@meet.example."
    assert m.caller.invite("demo", offer())[0] == 200
    assert spaces(m)["demo"]["state"] == "connecting"
    assert "Alice" in spaces(m)["demo"]["sharer"]
    m.caller.close()
    m.wait_event("share-ended")
    assert spaces(m)["demo"]["state"] == "ended"
    assert spaces(m)["demo"]["detail"] == "The SIP connection to the sharer was lost."
    assert spaces(m)["other"]["state"] == "waiting"


def test_a_second_sharer_takes_the_space_over(meet):
    m = meet("--allow-unencrypted-media")
    first = m.caller
    assert first.invite("demo", offer())[0] == 200
    second = Caller(first.sock.getpeername())
    assert second.invite("demo", offer())[0] == 200
    head, _ = first.message()
    assert head.startswith("BYE ")
    assert re.search(r"(?im)^ms-diagnostics-public: *21000;", head)
    assert spaces(m)["demo"]["state"] == "connecting"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_it_is_called_over_each_transport(meet, transport, tmp_path):
    more = ["--sip", f"{transport}:127.0.0.1:0", "--allow-unencrypted-media"]
    if transport == "tls":
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                        "-subj", "/CN=meet.example", "-keyout", tmp_path / "key.pem", "-out",
                        tmp_path / "cert.pem"], check=True, capture_output=True, timeout=60)
        more += ["--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem"]
    m = meet(*more)
    at = [e["addr"] for e in m.events if e["event"] == "listening" and e["transport"] == transport]
    host, port = at[-1].split(":")
    caller = Caller((host, int(port)), transport)
    status, _, body = caller.invite("demo", offer())
    assert status == 200 and "m=applicationsharing" in body
    assert spaces(m)["demo"]["state"] == "connecting"
    caller.send("CANCEL", "demo")  # too late: the dialog stands
    assert caller.answer()[0] in (200, 481)
    caller.close()


def test_an_rdp_viewer_that_cannot_start_is_a_500(meet):
    m = meet("--allow-unencrypted-media", "--rdp-program", "/nonexistent/causeway-rdp")
    assert m.caller.invite("demo", offer())[0] == 500
    m.wait_event("rdp-viewer-failed")


@pytest.mark.parametrize("args, says", [
    (["--space", "a b"], "space"),
    (["--sip", "sctp:127.0.0.1:5060", "--space", "demo"], "sip"),
    (["--sip", "tls:127.0.0.1:5061", "--space", "demo"], "tls-cert"),
    (["--turn", "127.0.0.1:3478", "--space", "demo"], "turn-user"),
    ([], "space"),
])
def test_a_bad_configuration_names_the_option(programs, args, says):
    m = programs("meet", "--check", *args)
    assert m.wait() == 2
    assert says in "\n".join(m.lines)
