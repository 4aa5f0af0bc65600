"""RFC 7635 and RFC 8489's SHA-256 against causeway-edge: with tokens that coturn's turnutils_oauth
makes, and a client that signs by itself."""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import time

import pytest

from conftest import need
from test_edge_users import Postgres
from turn_client import (ALLOCATE, COOKIE, FINGERPRINT, LIFETIME, NONCE, REALM, REFRESH, TCP,
                         TRANSPORT, USERNAME, Turn, attr)

pytestmark = pytest.mark.sanitized
EDGE, NAME = "127.0.0.2", "turn.example"
ACCESS_TOKEN, INTEGRITY_SHA256, ALGORITHM, USERHASH = 0x1B, 0x1C, 0x1D, 0x1E
ALGORITHMS, THIRD_PARTY = 0x8002, 0x802E
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(32)).decode()
MAC_KEY = b"01234567890123456789012345678901"
WANT = (TRANSPORT, bytes([TCP, 0, 0, 0]))


@pytest.fixture
def edge(programs):
    def start(*options):
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", "TANDBERG", "--log", "json", *options)
        return EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1])
    return start


def token(key=KEY, name=NAME, made_s=None, lifetime_s=600, alg="A256GCM"):
    need(shutil.which("turnutils_oauth"), "no turnutils_oauth here")
    made_s = int(time.time()) if made_s is None else made_s
    out = subprocess.run(
        ["turnutils_oauth", "-e", "-v", "-i", name, "-j", "north", "-k", key, "-l", str(made_s), "-m",
         "86400", "-n", alg, "-o", base64.b64encode(os.urandom(12)).decode(), "-p",
         base64.b64encode(MAC_KEY).decode(), "-q", str(made_s << 16), "-r", str(lifetime_s)],
        capture_output=True, text=True, check=True).stdout
    return base64.b64decode(max(re.findall(r"[A-Za-z0-9+/=]{80,}", out), key=len))


def bearer(server, kid="north"):
    t = Turn(server, kid, "")
    first = t.ask(ALLOCATE, WANT, signed=False)
    assert first.code == 401 and first.attrs[THIRD_PARTY] == NAME.encode()
    t.realm, t.nonce, t.key = first.attrs[REALM], first.attrs[NONCE], MAC_KEY
    return t


def show(server, shown, kid="north"):
    """The code of the answer to an Allocate with this token."""
    t = bearer(server, kid)
    code = t.ask(ALLOCATE, WANT, (ACCESS_TOKEN, shown)).code
    t.close()
    return code


def lifetime_of(answer):
    return struct.unpack(">I", answer.attrs[LIFETIME])[0]


def check_tokens(server):
    t = bearer(server)
    got = t.ask(ALLOCATE, WANT, (ACCESS_TOKEN, token(lifetime_s=300)))
    assert got.code == 0 and got.signed_by(MAC_KEY)
    assert 290 <= lifetime_of(got) <= 300
    assert lifetime_of(t.ask(REFRESH, (LIFETIME, struct.pack(">I", 3000)))) <= 300
    longer = t.ask(REFRESH, (LIFETIME, struct.pack(">I", 3000)), (ACCESS_TOKEN, token(lifetime_s=900)))
    assert 890 <= lifetime_of(longer) <= 900
    t.close()
    assert show(server, token(key=OTHER_KEY)) == 401
    assert show(server, token(name="other.example")) == 401
    assert show(server, token(made_s=int(time.time()) - 700)) == 401
    assert show(server, os.urandom(100)) == 401
    assert show(server, b"\xff\xff" + bytes(10)) == 401


def test_tokens_of_turnutils_oauth(edge):
    check_tokens(edge("--third-party-auth", NAME, "--oauth-key", f"north:{KEY}"))


def test_their_key_from_coturns_table(edge, tmp_path):
    db = tmp_path / "turndb"
    with sqlite3.connect(db) as c:
        c.executescript(f"""
            CREATE TABLE turnusers_lt (realm varchar(127) default '', name varchar(512),
                                       hmackey char(128), PRIMARY KEY (realm, name));
            CREATE TABLE turn_secret (realm varchar(127) default '', value varchar(256),
                                      PRIMARY KEY (realm, value));
            CREATE TABLE oauth_key (kid varchar(128), ikm_key varchar(256),
                                    timestamp bigint default 0, lifetime integer default 0,
                                    as_rs_alg varchar(64) default '', realm varchar(127),
                                    primary key (kid));
            INSERT INTO oauth_key (kid, ikm_key, as_rs_alg) VALUES ('north', '{KEY}', 'A256GCM');""")
    check_tokens(edge("--third-party-auth", NAME, "--userdb", str(db)))


def test_their_key_from_postgresql(edge):
    with contextlib.closing(Postgres()) as db:
        db.sql(f"""INSERT INTO oauth_key (kid, ikm_key, as_rs_alg, realm) VALUES
                   ('north', '{KEY}', 'A256GCM', 'TANDBERG'),
                   ('other', '{KEY}', 'A256GCM', 'elsewhere');
                   INSERT INTO oauth_key (kid, ikm_key, timestamp, lifetime) VALUES
                   ('old', '{KEY}', 1500000000, 60)""")
        server = edge("--third-party-auth", NAME, "--postgres", db.conninfo)
        check_tokens(server)
        for kid in ("other", "old", "none", "' OR '1'='1"):
            assert show(server, token(), kid) == 401
        db.sql("UPDATE oauth_key SET realm = NULL WHERE kid = 'other'")
        assert show(server, token(), "other") == 0


class Modern(Turn):
    """Signs as RFC 8489 has it."""

    def __init__(self, server, by_hash=False):
        super().__init__(server, "alice", "secret")
        first = self.ask(ALLOCATE, WANT, signed=False)
        self.nonce, self.list, self.by_hash = first.attrs[NONCE], first.attrs.get(ALGORITHMS), by_hash
        self.key = hashlib.sha256(b"alice:TANDBERG:secret").digest()

    def allocate(self):
        """The answer's code, and whether it is signed as it should be."""
        tid = os.urandom(12)
        name = (attr(USERHASH, hashlib.sha256(b"alice:TANDBERG").digest()) if self.by_hash
                else attr(USERNAME, b"alice"))
        body = (attr(*WANT) + name + attr(REALM, b"TANDBERG") + attr(NONCE, self.nonce) +
                attr(ALGORITHMS, self.list) + attr(ALGORITHM, b"\0\2\0\0"))
        head = struct.pack(">HHI", ALLOCATE, len(body) + 36, COOKIE) + tid
        self.s.sendall(head + body +
                       attr(INTEGRITY_SHA256, hmac.new(self.key, head + body, "sha256").digest()))
        got = self.recv()
        at = got.raw.index(struct.pack(">HH", INTEGRITY_SHA256, 32)) if got.code == 0 else 0
        signed = bytearray(got.raw[:at])
        signed[2:4] = struct.pack(">H", at + 36 - 20)
        mac = got.attrs.get(INTEGRITY_SHA256)
        return got.code, mac == hmac.new(self.key, signed, "sha256").digest()


def user_add(build, db):
    subprocess.run([build / "cmd/edge/causeway-edge", "user", "add", "alice", "--userdb", db, "--realm",
                    "TANDBERG"], input="secret\n", text=True, check=True, capture_output=True)


@pytest.mark.parametrize("by_hash", [False, True])
def test_sha256_from_the_file_that_user_add_made(edge, build, tmp_path, by_hash):
    db = tmp_path / "users"
    user_add(build, db)
    server = edge("--userdb", str(db), "--password-algorithms", "both",
                  *(["--userhash"] if by_hash else []))
    t = Modern(server, by_hash)
    assert t.list == b"\0\2\0\0\0\1\0\0"
    assert t.nonce[:13] == (b"obMatJos2wAAA" if by_hash else b"obMatJos2gAAA")
    assert t.allocate() == (0, True)
    old = Turn(server, "alice", "secret")
    old.allocate()  # with SHA-1 and MD5, signed likewise: it checks


def test_beside_a_database_nothing_is_offered_by_itself(edge, build, tmp_path):
    user_add(build, tmp_path / "users")
    t = Modern(edge("--userdb", str(tmp_path / "users")))
    assert t.list is None and t.nonce[:13] == b"obMatJos2AAAA"


def test_a_full_server_sends_clients_away(edge):
    server = edge("--user", "turn:secret", "--max-allocations", "1", "--alternate-server",
                  "203.0.113.5:3478")
    first, second = Turn(server), Turn(server)
    first.allocate()
    second.nonce = second.ask(ALLOCATE, WANT, signed=False).attrs[NONCE]
    got = second.ask(ALLOCATE, WANT)
    assert got.code == 300 and got.signed_by(second.key)
    assert got.attrs[0x8023] == b"\0\1" + struct.pack(">H", 3478) + bytes([203, 0, 113, 5])
    assert FINGERPRINT in got.attrs
