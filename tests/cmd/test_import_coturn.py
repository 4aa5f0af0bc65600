#!/usr/bin/python3
"""causeway-edge import-coturn: configurations as people have them become ones that pass --check
and mean the same; every option of the installed coturn is known; the page has the same table.

test_import_coturn.py SOURCE_ROOT EDGE; prints TAP."""
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# What coturn's help names that are no options of its configuration file.
ARTEFACTS = {"help", "no_dtls"}


class Edge:
    def __init__(self, root, program, folder):
        self.root, self.program, self.folder = root, program, folder
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=turn", "-keyout",
                        self.key, "-out", self.cert], check=True, capture_output=True, timeout=60)

    def run(self, *argv):
        return subprocess.run([self.program, *map(str, argv)], capture_output=True, text=True,
                              timeout=60)

    def take(self, text):
        """(status, {key: [value]}, the file, what was said) for this turnserver.conf."""
        old, new = self.folder / "turnserver.conf", self.folder / "edge.conf"
        old.write_text(text.replace("@CERT@", str(self.cert)).replace("@KEY@", str(self.key)))
        new.unlink(missing_ok=True)
        got = self.run("import-coturn", old, "--out", new)
        out, keys = new.read_text(), {}
        for key, value in re.findall(r"^([a-z][a-z0-9-]*) = (.*)$", out, re.M):
            keys.setdefault(key, []).append(value)
        return got.returncode, keys, out, got.stderr

    def sample(self, name):
        return self.take((self.root / f"tests/cmd/coturn/{name}.conf").read_text())


def differ(got, **want):
    """Lines about keys that have other values."""
    for name, value in want.items():
        name = name.replace("_", "-")
        if got.get(name, []) != value:
            yield f"{name} = {got.get(name)}, want {value}"


def passes_check(edge):
    for path in sorted((edge.root / "tests/cmd/coturn").glob("*.conf")):
        # Addresses and routes of the machine must not matter but where coturn's do not either.
        text = path.read_text()
        if "listening-ip" not in text and "relay-ip" not in text:
            text += "listening-ip=192.0.2.15\n"
        status, _, _, said = edge.take(text)
        if status != 0:
            yield f"{path.name}: {said}"


def jitsi(edge):
    _, keys, _, said = edge.sample("jitsi")
    yield from differ(keys, realm=["meet.example.com"], secret=["QdKE3sWv5NX1yoZa"],
                      relay_address=["192.168.7.24"], external_address=["198.51.100.24"],
                      tls_cert=[str(edge.cert)], tls_key=[str(edge.key)], tcp_connect=["off"],
                      relay_ports=["49152-65535"], relay_to_relay=["on"], user=[])
    nets = keys.get("peer-deny", [])
    for net in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "240.0.0.0/4", "64:ff9b::/96",
                "fc00::/7", "fe80::/10"):
        if net not in nets:
            yield f"{net} is not in peer-deny: {nets}"
    if not {"0.0.0.0:3478", "0.0.0.0:5349"} <= set(keys["listen"]):
        yield f"listen = {keys['listen']}"
    for line, what in ((3, "keep-address-family: refused"), (10, "no-loopback-peers: not needed"),
                       (12, "no-tcp: to do"), (18, "cipher-list: not needed")):
        if not re.search(rf"turnserver\.conf:{line}: {re.escape(what)}", said):
            yield f"says nothing of line {line}, {what}:\n{said}"


def matrix(edge):
    _, keys, _, _ = edge.sample("matrix")
    yield from differ(keys, listen=["192.0.2.15:3478", "[2001:db8::15]:3478"],
                      relay_address=["192.0.2.15", "2001:db8::15"], max_per_user=["12"],
                      max_allocations=["1200"], nonce_life=["600"], max_lifetime=["7200"],
                      mobility=["on"],
                      peer_allow=["10.0.0.1/32", "203.0.114.16/28"])
    nets = set(keys["peer-deny"])
    # What coturn allows inside of what it denies.
    for gone in ("10.0.0.0/8", "203.0.114.0/24"):
        if gone in nets:
            yield f"{gone} is denied, and with it what is allowed"
    if not {"203.0.114.0/28", "203.0.114.32/27", "203.0.114.64/26", "203.0.114.128/25",
            "10.0.0.0/32", "10.128.0.0/9", "192.168.0.0/16"} <= nets:
        yield f"peer-deny = {sorted(nets)}"


def bigbluebutton(edge):
    _, keys, _, _ = edge.sample("bigbluebutton")
    yield from differ(keys, listen=["192.0.2.44:3478", "192.0.2.44:443"],
                      relay_address=["192.0.2.44"], external_address=["192.0.2.44"],
                      relay_ports=["32769-65535"], log_level=[], dtls=["off"])


def nextcloud(edge):
    _, keys, _, said = edge.sample("nextcloud")
    yield from differ(keys, nonce_life=["600"], max_per_user=["12"], max_allocations=[])
    if "0 is without a limit" not in said:
        yield f"says nothing of total-quota=0:\n{said}"


def users(edge):
    _, keys, out, said = edge.sample("users")
    bob = hashlib.md5(b"bob:users.example.com:two words ; and more").hexdigest()
    yield from differ(keys, realm=["users.example.com"], metrics=["127.0.0.1:9700"],
                      user=[f"bob:0x{bob}", "carol:0xbc807ee29df3c9ffa736523fb2c4e8ee",
                            "alice:looking-glass"],
                      redis=["ip=127.0.0.1 dbname=2 password=turn port=6379 connect_timeout=30"],
                      postgres=[], log_level=["debug"], max_bandwidth_per_allocation=["512k"])
    for line, what in ((17, "no-cli: not needed: it is switched off"), (4, "user: to do: left out"),
                       (8, "user: to do: left out: is not"), (18, "no-such-option: not needed"),
                       (12, "redis-statsdb: to do"),
                       (10, "psql-userdb: not needed: coturn uses the last")):
        if f"conf:{line}: {what}" not in said:
            yield f"says nothing of {what} in line {line}:\n{said}"
    for word in ("wonderland", "two words", "looking-glass", "password=turn", "0xbc80"):
        if word in said:
            yield f"says {word} aloud"
    if "two words" in out:
        yield "bob's password is in the file"


def safety(edge):
    """What must not open by being taken over."""
    cases = [
        ("a user beside a secret", "realm=r\nlistening-ip=192.0.2.1\nuse-auth-secret\n"
         "static-auth-secret=longenough\nuser=eve:guess\n", {"user": [], "secret": ["longenough"]}),
        ("no-auth", "realm=r\nlistening-ip=192.0.2.1\nno-auth\n",
         {"userdb": ["/var/lib/causeway/users"], "user": []}),
        ("nothing at all", "listening-ip=192.0.2.1\n", {"userdb": ["/var/lib/causeway/users"]}),
        ("stun-only", "realm=r\nlistening-ip=192.0.2.1\nstun-only\nuser=a:b\n", {"user": []}),
        ("everything allowed", "realm=r\nlistening-ip=192.0.2.1\nuser=a:b\n"
         "allowed-peer-ip=0.0.0.0-255.255.255.255\n", None),
        ("a secret that is too short", "realm=r\nlistening-ip=192.0.2.1\n"
         "static-auth-secret=north\n", {"secret": []}),
        ("a secret that would be a comment", "realm=r\nlistening-ip=192.0.2.1\n"
         "static-auth-secret=;longenough\n", {"secret": []}),
        ("a realm that would be a comment", "realm=;r\nlistening-ip=192.0.2.1\nuser=a:b\n",
         {"realm": ["causeway"]}),
        ("tokens", "realm=r\nlistening-ip=192.0.2.1\noauth\nuserdb=/a\n",
         {"third-party-auth": ["r"], "userdb": ["/a"]}),
        ("tokens for a name", "realm=r\nlistening-ip=192.0.2.1\noauth\nserver-name=turn.example\n",
         {"third-party-auth": ["turn.example"], "userdb": ["/var/lib/turn/turndb"]}),
        ("tokens switched off", "realm=r\nlistening-ip=192.0.2.1\nserver-name=x\nuser=a:b\n",
         {"third-party-auth": []}),
        ("coturn's own database", "realm=r\nlistening-ip=192.0.2.1\nlt-cred-mech\n",
         {"userdb": ["/var/lib/turn/turndb"]}),
        ("the last database", "realm=r\nlistening-ip=192.0.2.1\nuserdb=/a\n"
         "redis-userdb=ip=192.0.2.9\nuserdb=/b\n", {"userdb": ["/b"], "redis": []}),
        ("loopback among the allowed", "realm=r\nlistening-ip=192.0.2.1\nuser=a:b\n"
         "allowed-peer-ip=127.0.0.1\n", {"peer-allow": []}),
        ("a relay port for clients", "realm=r\nlistening-ip=192.0.2.1\nuser=a:b\n"
         "min-port=3000\nmax-port=4000\n", {"relay-to-relay": [], "relay-ports": ["3000-4000"]}),
    ]
    for what, text, want in cases:
        status, keys, out, said = edge.take(text)
        if status != 0:
            yield f"{what}: {said}"
        for key, value in (want or {}).items():
            if keys.get(key, []) != value:
                yield f"{what}: {key} = {keys.get(key)}"
        if want is None and any(n.startswith(("127.", "0.0.0.0/0")) for n in keys["peer-allow"]):
            yield f"{what}: {keys['peer-allow']}"


def files(edge):
    """What is there is not written over; a new file is nobody else's."""
    old, new = edge.folder / "turnserver.conf", edge.folder / "fresh.conf"
    old.write_text("realm=r\nlistening-ip=192.0.2.1\nuser=a:b\n")
    if edge.run("import-coturn", old, "--out", new).returncode != 0:
        yield "a new file: failed"
    if new.stat().st_mode & 0o077:
        yield f"others can read it: {new.stat().st_mode:o}"
    new.write_text("mine")
    got = edge.run("import-coturn", old, "--out", new)
    if got.returncode != 1 or "--force" not in got.stderr or new.read_text() != "mine":
        yield f"written over: {got.stderr}"
    if edge.run("import-coturn", old, "--out", new, "--force").returncode != 0:
        yield "--force: failed"
    if edge.run("import-coturn", old).stdout != new.read_text():
        yield "standard output has something else"
    for argv in ([], ["a", "b"], [old, "--force"], ["--what"], [old, "--table"]):
        if edge.run("import-coturn", *argv).returncode != 2:
            yield f"{argv}: is no usage error"
    if edge.run("import-coturn", edge.folder / "none").returncode != 1:
        yield "no such file: is no error"


def table_keys(edge):
    """Keys that the table names are the edge's."""
    known = set(re.findall(r"^#?([a-z][a-z0-9-]*) =", edge.run("--show-defaults").stdout, re.M))
    for name, key in re.findall(r"^\| `([^`]+)` \| `([^`]+)` ", edge.run(
            "import-coturn", "--table").stdout, re.M):
        if key not in known:
            yield f"{name}: there is no {key}"


def page_has_table(edge):
    page = (edge.root / "docs/coming-from-coturn.md").read_text()
    if edge.run("import-coturn", "--table").stdout not in page:
        yield "docs/coming-from-coturn.md: paste what causeway-edge import-coturn --table prints"


def coturn_names(edge):
    """Option names of the installed coturn, from its help and its manual page's example file."""
    text = subprocess.run(["turnserver", "--help"], capture_output=True, text=True, timeout=60)
    names = set(re.findall(r"--([A-Za-z][A-Za-z0-9_-]*)", text.stdout + text.stderr))
    example = pathlib.Path("/etc/turnserver.conf")
    try:
        names |= set(re.findall(r"^#([a-z][a-zA-Z0-9_-]*)(?:=\S*)?$", example.read_text(), re.M))
    except OSError:
        pass
    return names - ARTEFACTS


def every_option_is_known(edge):
    known = set(re.findall(r"^\| `([^`]+)`", edge.run("import-coturn", "--table").stdout, re.M))
    names = coturn_names(edge)
    if len(names) < 100:
        yield f"coturn names only {sorted(names)}: does this test still read its help?"
    for name in sorted(names - known):
        yield f"{name}: an option of coturn that the table does not have"


TESTS = [passes_check, jitsi, matrix, bigbluebutton, nextcloud, users, safety, files, table_keys,
         page_has_table, every_option_is_known]


def main():
    failed = False
    print(f"1..{len(TESTS)}")
    with tempfile.TemporaryDirectory() as folder:
        edge = Edge(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(folder))
        for n, test in enumerate(TESTS, 1):
            name = test.__name__.replace("_", " ")
            if test is every_option_is_known and not shutil.which("turnserver"):
                print("ok", n, "-", name, "# SKIP no coturn here")
                continue
            why = list(test(edge))
            print("ok" if not why else "not ok", n, "-", name)
            for line in "\n".join(why).splitlines():
                print("#", line)
            failed = failed or bool(why)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
