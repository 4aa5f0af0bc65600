"""Who may use causeway-edge: shared secrets and databases, with coturn's own tools as counterpart."""
import base64
import glob
import hashlib
import hmac
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import TIMEOUT_S, free_port, need, wait_until
from turn_client import (ALLOCATE, CONNECTION_BIND, CONNECTION_ID, REFRESH, TRANSPORT, UDP,
                         Turn)

pytestmark = pytest.mark.sanitized
EDGE, PEER, REALM = "127.0.0.2", "127.0.0.3", "TANDBERG"
WANT_UDP = (TRANSPORT, bytes([UDP, 0, 0, 0]))


@pytest.fixture
def edge(programs):
    """start(options...) starts an edge; its address."""
    def start(*options):
        p = programs("edge", "--listen", f"{EDGE}:0", "--realm", REALM, "--peer-allow",
                     "127.0.0.0/8", "--log", "json", *options)
        return p, (EDGE, int(p.wait_event("listening")["addr"].rsplit(":", 1)[1]))
    return start


def allocate(server, user, password):
    """The error code of an Allocate, 0 for success."""
    t = Turn(server, user, password, realm=REALM.encode())
    first = t.ask(ALLOCATE, WANT_UDP, signed=False)
    assert first.code == 401
    t.nonce = first.attrs[0x15]
    code = t.ask(ALLOCATE, WANT_UDP).code
    t.close()
    return code


def timed(secret, name="alice", in_s=600, digest="sha1"):
    user = f"{int(time.time()) + in_s}:{name}"
    mac = hmac.new(secret.encode(), user.encode(), digest).digest()
    return user, base64.b64encode(mac).decode()


def uclient(server, *options):
    need(shutil.which("turnutils_uclient"), "needs Debian's coturn")
    got = subprocess.run(["turnutils_uclient", "-c", "-y", "-n", "3", "-m", "2", "-p",
                          str(server[1]), *options, server[0]],
                         capture_output=True, text=True, timeout=3 * TIMEOUT_S)
    text = got.stdout + got.stderr
    return got.returncode == 0 and "Total lost packets 0 (0.000000%)" in text, text


def test_timed_credentials(edge):
    p, server = edge("--secret", "north-north", "--secret", "south-south", "--user", "turn:secret",
                     "--relay-to-relay")
    for secret in ("north-north", "south-south"):
        for digest in ("sha1", "sha256"):
            assert allocate(server, *timed(secret, digest=digest)) == 0
    assert allocate(server, "turn", "secret") == 0
    assert allocate(server, *timed("east-east")) == 401
    assert allocate(server, timed("north-north")[0], "secret") == 401
    assert allocate(server, *timed("north-north", in_s=-1)) == 401
    p.wait_event("credential-expired")
    # Nor does the name of another time, or of somebody else, fit the password.
    user, password = timed("north-north")
    assert allocate(server, "9" + user, password) == 401
    assert allocate(server, user + "x", password) == 401
    assert not any("north" in line or password in line for line in p.lines)


def test_timed_credentials_of_coturn(edge):
    _, server = edge("--secret", "north-north", "--relay-to-relay")
    ok, text = uclient(server, "-u", "alice", "-W", "north-north")
    assert ok, text
    ok, text = uclient(server, "-u", "alice", "-W", "other-other")
    assert not ok and "Cannot complete Allocation" in text, text


def test_secrets_are_changed_by_a_reload(edge, tmp_path):
    conf = tmp_path / "edge.conf"
    conf.write_text("secret = north-north\n")
    p, server = edge("-c", conf)
    assert allocate(server, *timed("north-north")) == 0
    assert allocate(server, *timed("south-south")) == 401
    conf.write_text("secret = south-south\n")
    p.process.send_signal(signal.SIGHUP)
    p.wait_event("reloaded")
    assert allocate(server, *timed("north-north")) == 401
    assert allocate(server, *timed("south-south")) == 0


def test_hash_can_be_chosen(edge):
    _, server = edge("--secret", "north-north", "--secret-hash", "sha256")
    assert allocate(server, *timed("north-north", digest="sha256")) == 0
    assert allocate(server, *timed("north-north", digest="sha1")) == 401


@pytest.mark.parametrize("strict", [True, False])
def test_expiry_of_what_runs(edge, strict):
    _, server = edge("--secret", "north-north", *(["--strict-expiry"] if strict else []))
    user, password = timed("north-north", in_s=2)
    end = int(user.split(":")[0])
    t = Turn(server, user, password, realm=REALM.encode())
    t.allocate(UDP)
    assert t.ask(REFRESH).code == 0
    while time.time() < end + 0.05:  # the wall clock is what is tested
        time.sleep(0.05)
    assert t.ask(REFRESH).code == (401 if strict else 0)
    assert allocate(server, user, password) == 401


def test_keys_in_place_of_passwords(edge):
    key = key_of("turn", "secret")
    _, server = edge("--user", f"turn:0x{key}")
    assert allocate(server, "turn", "secret") == 0
    assert allocate(server, "turn", f"0x{key}") == 401


def turnadmin(*args):
    need(shutil.which("turnadmin"), "needs Debian's coturn")
    got = subprocess.run(["turnadmin", *map(str, args)], capture_output=True,
                         text=True, timeout=TIMEOUT_S)
    assert got.returncode == 0, got.stdout + got.stderr


def causeway(build, *args, stdin=""):
    return subprocess.run([build / "cmd" / "edge" / "causeway-edge", *map(str, args)], input=stdin,
                          capture_output=True, text=True, timeout=TIMEOUT_S)


def test_turndb_of_coturn(edge, tmp_path):
    db = tmp_path / "turndb"
    turnadmin("-a", "-u", "alice", "-p", "secret", "-r", REALM, "-b", db)
    turnadmin("-a", "-u", "bob", "-p", "secret", "-r", "elsewhere", "-b", db)
    turnadmin("-s", "north-north", "-r", REALM, "-b", db)
    _, server = edge("--userdb", db, "--user-cache", "1", "--relay-to-relay")
    ok, text = uclient(server, "-u", "alice", "-w", "secret")
    assert ok, text
    ok, text = uclient(server, "-u", "carol", "-W", "north-north")
    assert ok, text
    assert allocate(server, "alice", "wrong") == 401
    assert allocate(server, "bob", "secret") == 401
    assert allocate(server, "' OR '1'='1", "secret") == 401
    # One secret after the other, without a restart.
    turnadmin("-s", "south-south", "-r", REALM, "-b", db)
    turnadmin("-X", "north-north", "-r", REALM, "-b", db)
    wait_until("the new secret is good", lambda: allocate(server, *timed("south-south")) == 0)
    assert allocate(server, *timed("north-north")) == 401


def test_user_is_deleted(edge, build, tmp_path):
    db = tmp_path / "users"
    got = causeway(build, "user", "add", "alice", "--userdb", db, "--realm", REALM, stdin="secret\n")
    assert got.returncode == 0, got.stderr
    _, server = edge("--userdb", db, "--user-cache", "1")
    t = Turn(server, "alice", "secret", realm=REALM.encode())
    t.allocate(UDP)
    assert causeway(build, "user", "del", "alice", "--userdb", db, "--realm", REALM).returncode == 0
    # What runs ends its use as well.
    wait_until("refused", lambda: t.ask(REFRESH).code == 401, timeout=5)
    assert allocate(server, "alice", "secret") == 401


def test_commands_on_the_file(edge, build, tmp_path):
    db, conf = tmp_path / "users", tmp_path / "edge.conf"
    conf.write_text(f"listen = {EDGE}:0\nrealm = {REALM}\nuserdb = users\n")

    def run(*args, stdin=""):
        got = causeway(build, *args, "-c", conf, stdin=stdin)
        assert got.returncode == 0, got.stderr
        return got.stdout.split()

    run("user", "add", "alice", stdin="secret")
    run("user", "add", "bob", stdin="other\n")
    run("user", "add", "bob", stdin="third\r\n")
    [mark] = run("secret", "add", stdin="north-north\n")
    assert run("user", "list") == ["alice", "bob"]
    assert run("secret", "list") == [mark] and "north" not in mark
    assert db.stat().st_mode & 0o777 == 0o600
    assert not any(word in db.read_bytes() for word in (b"other", b"third"))
    _, server = edge("--userdb", db, "--user-cache", "1")
    assert allocate(server, "alice", "secret") == 0
    assert allocate(server, "bob", "third") == 0
    assert allocate(server, "bob", "other") == 401
    assert allocate(server, *timed("north-north")) == 0
    run("secret", "del", mark)
    wait_until("secret gone", lambda: allocate(server, *timed("north-north")) == 401, timeout=5)
    for wrong, why in ((["user", "del", "carol"], "no such user"), (["secret", "del", "1234"], "has"),
                       (["user", "add", "x" * 129], "128 bytes"), (["user", "add", "x"], "no pass"),
                       (["secret", "add"], "8 to 256")):
        got = causeway(build, *wrong, "-c", conf)
        assert got.returncode == 1 and why in got.stderr, (wrong, got)
    assert causeway(build, "user").returncode == 2
    assert "--userdb" in causeway(build, "user", "list").stderr
    # coturn's tool reads what ours made.
    turnadmin("-a", "-u", "dave", "-p", "secret", "-r", REALM, "-b", db)
    assert run("user", "list") == ["alice", "bob", "dave"]
    assert allocate(server, "dave", "secret") == 0


def key_of(user, password):
    return hashlib.md5(f"{user}:{REALM}:{password}".encode()).hexdigest()


class NotUtf8(str):
    def encode(self, *_):
        return b"\xff\xfe" + str(self).encode()


class Postgres:
    """A cluster of its own, in a folder of its own, on a free port."""
    TABLES = """
        CREATE TABLE turnusers_lt (realm varchar(127) default '', name varchar(512),
                                   hmackey char(128), PRIMARY KEY (realm, name));
        CREATE TABLE turn_secret (realm varchar(127) default '', value varchar(256),
                                  PRIMARY KEY (realm, value));
        CREATE TABLE oauth_key (kid varchar(128), ikm_key varchar(256),
                                timestamp bigint default 0, lifetime integer default 0,
                                as_rs_alg varchar(64) default '', realm varchar(127),
                                PRIMARY KEY (kid));"""

    def __init__(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        need(found, "needs Debian's postgresql")
        self.bin = pathlib.Path(found[-1]).parent
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="causeway-pg-"))
        self.as_user = []
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            shutil.chown(self.dir, "postgres", "postgres")
            self.as_user = ["runuser", "-u", "postgres", "--"]
        self.port = free_port()
        self.data = self.dir / "data"
        (self.dir / "pw").write_text("db-password")
        (self.dir / "pw").chmod(0o644)
        self.run("initdb", "-D", self.data, "-U", "turn", "-A", "scram-sha-256", "--pwfile",
                 self.dir / "pw", "-E", "UTF8", "--no-sync")
        self.start()
        self.sql(self.TABLES)

    def run(self, program, *args, **more):
        got = subprocess.run([*self.as_user, self.bin / program, *map(str, args)], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.dir,
                             timeout=3 * TIMEOUT_S, **more)
        assert got.returncode == 0, got.stdout
        return got.stdout

    def start(self):
        log = self.dir / "log"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", log, "-o",
                 f"-F -p {self.port} -k {self.dir} -c listen_addresses=127.0.0.1", "start")

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def sql(self, text):
        self.run("psql", "-h", self.dir, "-p", self.port, "-U", "turn", "-d", "postgres", "-q",
                 "-v", "ON_ERROR_STOP=1", "-c", text, env={**os.environ, "PGPASSWORD": "db-password"})

    @property
    def conninfo(self):
        return f"hostaddr=127.0.0.1 port={self.port} dbname=postgres user=turn password=db-password"

    def add_user(self, name, password):
        self.sql(f"INSERT INTO turnusers_lt VALUES ('{REALM}', '{name}', '{key_of(name, password)}')")

    def del_user(self, name):
        self.sql(f"DELETE FROM turnusers_lt WHERE name = '{name}'")

    def add_secret(self, value):
        self.sql(f"INSERT INTO turn_secret VALUES ('{REALM}', '{value}')")

    def del_secret(self, value):
        self.sql(f"DELETE FROM turn_secret WHERE value = '{value}'")

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir)


class Redis:
    """A server of its own."""

    def __init__(self):
        need(shutil.which("redis-server") and shutil.which("redis-cli"), "needs Debian's redis")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="causeway-redis-"))
        self.port = free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir,
             "--requirepass", "db-password", "--appendonly", "yes", "--appendfsync", "no"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("redis answers", lambda: self.ask("PING") == "PONG")

    def stop(self):
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def ask(self, *words):
        got = subprocess.run(["redis-cli", "-p", str(self.port), "-n", "2", *words],
                             capture_output=True, text=True, timeout=TIMEOUT_S,
                             env={**os.environ, "REDISCLI_AUTH": "db-password"})
        return got.stdout.strip()

    @property
    def conninfo(self):
        return f"ip=127.0.0.1 port={self.port} dbname=2 password=db-password"

    def add_user(self, name, password):
        assert self.ask("SET", f"turn/realm/{REALM}/user/{name}/key", key_of(name, password)) == "OK"

    def del_user(self, name):
        assert self.ask("DEL", f"turn/realm/{REALM}/user/{name}/key") == "1"

    def add_secret(self, value):
        assert self.ask("SADD", f"turn/realm/{REALM}/secret", value) == "1"

    def del_secret(self, value):
        assert self.ask("SREM", f"turn/realm/{REALM}/secret", value) == "1"

    def close(self):
        self.stop()
        shutil.rmtree(self.dir)


DATABASES = {"postgres": Postgres, "redis": Redis}


@pytest.fixture(scope="module", params=DATABASES)
def database(request):
    d = DATABASES[request.param]()
    d.option = f"--{request.param}"
    yield d
    d.close()


def test_database(edge, database):
    d = database
    d.add_user("alice", "secret")
    d.add_secret("north-north")
    p, server = edge(d.option, d.conninfo, "--user-cache", "1", "--user", "turn:secret")
    p.wait_event("users-up", store=d.option[2:])
    assert allocate(server, "alice", "secret") == 0
    assert allocate(server, "alice", "wrong") == 401
    assert allocate(server, "nobody", "secret") == 401
    for name in ("' OR '1'='1", "alice'; DROP TABLE turnusers_lt; --", "a b\r\nGET x", "\xff\xfe",
                 "%s%n", "$1", "a\\0b", NotUtf8("x"), "x" * 128, "*", "alice/key"):
        assert allocate(server, name, "secret") == 401
    assert allocate(server, *timed("north-north")) == 0
    assert allocate(server, *timed("east-east")) == 401
    ok, text = uclient(server, "-u", "alice", "-w", "wrong")
    assert not ok, text
    # Somebody goes, and so does a secret.
    d.del_user("alice")
    d.add_secret("south-south")
    d.del_secret("north-north")
    wait_until("refused", lambda: allocate(server, "alice", "secret") == 401, timeout=5)
    wait_until("the new secret", lambda: allocate(server, *timed("south-south")) == 0, timeout=5)
    assert allocate(server, *timed("north-north")) == 401
    assert not any("db-password" in line or "north" in line for line in p.lines)


def test_database_goes_and_comes_back(edge, database):
    d = database
    d.add_user("bob", "secret")
    p, server = edge(d.option, d.conninfo, "--user-cache", "1", "--user", "turn:secret")
    t = Turn(server, "bob", "secret", realm=REALM.encode())
    t.allocate(UDP)
    d.stop()
    p.wait_event("users-down", store=d.option[2:])
    # What runs goes on; the configuration's users do not notice.
    wait_until("no new ones", lambda: allocate(server, "bob", "secret") == 500, timeout=5)
    assert t.ask(REFRESH).code == 0
    assert allocate(server, "turn", "secret") == 0
    d.start()
    wait_until("back", lambda: allocate(server, "bob", "secret") == 0, timeout=40)
    assert t.ask(REFRESH).code == 0


def test_no_relay_to_the_database(edge, database):
    _, server = edge(database.option, database.conninfo, "--user", "turn:secret")
    t = Turn(server, "turn", "secret", realm=REALM.encode())
    t.allocate(UDP)
    assert t.permit(PEER) == 0
    assert t.permit("127.0.0.1") == 403


def test_database_refuses(edge, database):
    d = database
    wrong = d.conninfo.replace("db-password", "not-it")
    p, server = edge(d.option, wrong, "--user", "turn:secret")
    why = p.wait_event("users-down", store=d.option[2:])["why"]
    assert "not-it" not in why and why
    assert allocate(server, "turn", "secret") == 0
    assert allocate(server, "alice", "secret") == 500


def test_database_that_says_nothing(edge, database):
    """A host that takes the connection and is silent: nobody waits for longer than 3 s."""
    d = database
    with socket.create_server(("127.0.0.1", 0)) as s:
        silent = re.sub(r"port=\d+", f"port={s.getsockname()[1]}", d.conninfo)
        p, server = edge(d.option, silent, "--user", "turn:secret")
        began = time.monotonic()
        assert allocate(server, "alice", "secret") == 500
        assert time.monotonic() - began < 6
        assert allocate(server, "turn", "secret") == 0
        p.wait_event("users-down", store=d.option[2:])


class SlowRedis(threading.Thread):
    """Speaks just enough of Redis to know one user, and takes its time over each answer."""

    def __init__(self, user, password):
        super().__init__(daemon=True)
        self.key = hashlib.md5(f"{user}:{REALM}:{password}".encode()).hexdigest().encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s.makefile("rwb"),), daemon=True).start()

    def serve(self, f):
        for line in f:
            words = []
            for _ in range(int(line[1:])):
                words.append(f.read(int(f.readline()[1:]) + 2)[:-2])
            threading.Event().wait(0.3)
            found = words[0] == b"GET" and words[1].endswith(b"/alice/key")
            f.write(b"$%d\r\n%s\r\n" % (len(self.key), self.key) if found
                    else b"$-1\r\n" if words[0] == b"GET"
                    else b"*0\r\n" if words[0] == b"SMEMBERS" else b"+PONG\r\n")
            f.flush()


def test_bytes_behind_a_connection_bind_that_waits_for_its_key(edge):
    """They are for the peer, also while the database has not said who asks."""
    redis = SlowRedis("alice", "secret")
    p, server = edge("--redis", f"ip=127.0.0.1 port={redis.port}")
    control = Turn(server, "alice", "secret", realm=REALM.encode())
    relay = control.allocate()
    assert control.permit(PEER) == 0
    peer = socket.create_connection(relay, TIMEOUT_S, source_address=(PEER, 0))
    cid = control.recv().attrs[CONNECTION_ID]
    p.process.send_signal(signal.SIGHUP)  # forgets whom it knew
    p.wait_event("reloaded")
    assert not [e for e in p.events if e["event"] == "reload-ignored"]  # nothing has changed
    data = Turn(server, "alice", "secret", realm=REALM.encode(), nonce=control.nonce)
    data.send(CONNECTION_BIND, [(CONNECTION_ID, cid)])
    early = bytes(range(256)) * 40  # no STUN in it
    data.s.sendall(early)
    assert data.recv().code == 0
    got = b""
    while len(got) < len(early):
        got += peer.recv(65536)
    assert got == early
    for end in (control, data, peer):
        end.close()


@pytest.mark.parametrize("option, value, why", [
    ("--postgres", "host=db.example.com dbname=turn", "host= must be an address"),
    ("--postgres", "nonsense", "no connection string"),
    ("--postgres", "service=turn", "service="),
    ("--redis", "ip=db.example.com", "ip= must be an address"),
    ("--redis", "dbname=1", "ip= must be an address"),
    ("--redis", "ip=127.0.0.1 port=65536", "wants ip="),
    ("--redis", "ip=127.0.0.1 colour=red", "wants ip="),
    ("--redis", "ip=127.0.0.1 password=" + "x" * 256, "wants ip="),
])
def test_wrong_databases(build, option, value, why):
    got = causeway(build, "--listen", f"{EDGE}:0", option, value, "--check")
    assert got.returncode == 2 and why in got.stderr, got.stderr


def test_file_goes_away(edge, build, tmp_path):
    db = tmp_path / "users"
    causeway(build, "user", "add", "alice", "--userdb", db, "--realm", REALM, stdin="secret\n")
    p, server = edge("--userdb", db, "--user-cache", "1", "--user", "turn:secret")
    assert allocate(server, "alice", "secret") == 0
    db.rename(tmp_path / "away")
    wait_until("trouble", lambda: allocate(server, "alice", "secret") == 500, timeout=5)
    p.wait_event("userdb-failed")
    assert allocate(server, "turn", "secret") == 0
    (tmp_path / "away").rename(db)
    assert allocate(server, "alice", "secret") == 0
