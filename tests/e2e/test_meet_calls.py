"""causeway-meet in calls that go on: taken over, ended by a second offer, too many of them."""
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
