#!/usr/bin/env python3
"""Fails on an include that points the wrong way. The table is docs/architecture.md's."""
import pathlib
import re
import sys

# From where: what may be included (prefixes), besides the folder itself.
TABLE = {
    "lib/base": [],
    "lib/stun": ["lib/base"],
    "lib/rtp": ["lib/base"],
    "lib/tls": ["lib/base"],
    "lib/proxy": ["lib/base"],
    "lib/share": ["lib/base"],
    "lib/flow": ["lib/base"],
    "lib/turn": ["lib/base", "lib/stun"],
    "lib/ice": ["lib/base", "lib/stun"],
    "lib/msturn": ["lib/base", "lib/stun", "lib/turn"],
    "lib/sdp": ["lib/base", "lib/stun", "lib/ice"],
    "lib/sip": ["lib/base"],
    "lib/explain": ["lib/"],
    "io": ["lib/base"],
    "run": ["io", "lib/"],
    "cmd": ["run", "io", "lib/"],
    "tests": ["cmd", "run", "io", "lib/", "tests"],
    "fuzz": ["cmd", "run", "io", "lib/"],
    "bench": ["run", "io", "lib/"],
}
# Third-party headers stay in one place: header prefix -> where it may be seen.
THIRD_PARTY = {
    "openssl/": ["lib/base/crypto.c", "lib/tls/", "tests/sim/alloc_fault.c"],
    "srtp": ["lib/rtp/srtp.c"],
    "turbojpeg.h": ["lib/share/encode.c", "tests/lib/share/"],
    "png.h": ["lib/share/encode.c", "tests/", "cmd/causeway/"],
    "hiredis/": ["run/user_redis.c"],
    "libpq-fe.h": ["run/user_postgres.c"],
    "sqlite3.h": ["run/user_file.c", "run/user_sqlite.c",
                  "tests/run/test_user_sqlite.c"],
    "uv.h": ["io/", "tests/io/"],
    "ini.h": ["io/conf_file.c"],
    "seccomp.h": ["io/jail.c"],
    "ares": ["io/resolve.c"],
    "pcap": ["io/capture.c"],
    "freerdp/": ["cmd/rdp/", "cmd/lab/"],
    "winpr/": ["cmd/rdp/", "cmd/lab/"],
    "X11/": ["cmd/lab/"],
    "libwebsockets.h": ["run/web_run"],
    "jansson.h": ["run/", "cmd/"],
}
# The cores are pure: no sockets, clock, threads, files, environment.
IMPURE = re.compile(
    r"#include <(sys/socket|netinet|arpa|netdb|pthread|unistd|fcntl|time|sys/time|signal|poll)[./>]"
    r"|\b(clock_gettime|gettimeofday|getenv|fopen|socket|pthread_create)\s*\(|\bFILE \*")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
FOLDERS = ("lib", "io", "run", "cmd", "tests", "fuzz", "bench")


def home(path):
    """The row of TABLE a file belongs to."""
    best = [row for row in TABLE if path.startswith(row + "/")]
    return max(best, key=len) if best else None


def faults(path, text):
    row = home(path)
    if row is None:
        yield "is in no folder the table knows"
        return
    for kind, name in INCLUDE.findall(text):
        if kind == '"':
            if name.endswith((".inc", "/web_files.h")):
                continue
            ok = name.startswith(row + "/") or any(
                name.startswith(p.rstrip("/") + "/") for p in TABLE[row])
            if "/" not in name or not ok:
                yield f'includes "{name}", which {row} may not see'
            continue
        for prefix, places in THIRD_PARTY.items():
            if name.startswith(prefix) and not any(path.startswith(p) for p in places):
                yield f"includes <{name}>, which belongs in {', '.join(places)}"
    if path.startswith("lib/"):
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        for hit in IMPURE.finditer(code):
            yield f"a core must be pure: {hit.group(0).strip()}"


def self_test():
    """The checker sees what it must see."""
    cases = {
        ("lib/stun/a.c", '#include "lib/turn/server.h"\n'): 1,
        ("lib/stun/a.c", '#include "lib/base/addr.h"\n'): 0,
        ("io/a.c", '#include "lib/stun/msg.h"\n'): 1,
        ("lib/base/a.c", "#include <sys/socket.h>\n"): 1,
        ("lib/turn/a.c", "int x(void) { return getenv(1); }\n"): 1,
        ("cmd/edge/a.c", "#include <uv.h>\n"): 1,
        ("lib/share/encode.c", "#include <turbojpeg.h>\n"): 0,
    }
    return [k for k, n in cases.items() if len(list(faults(*k))) != n]


def main():
    top = pathlib.Path(sys.argv[1])
    files = sorted(p for f in FOLDERS for p in (top / f).rglob("*.[ch]"))
    print("1..2")
    wrong = self_test()
    print(("not ok" if wrong else "ok") + " 1 the checker finds planted faults")
    for w in wrong:
        print("# missed or misjudged:", w)
    found = [f"{p.relative_to(top)}: {f}" for p in files
             for f in faults(str(p.relative_to(top)), p.read_text())]
    print(("not ok" if found or not files else "ok") + f" 2 {len(files)} files respect the layers")
    for f in found:
        print("#", f)
    return 1 if wrong or found or not files else 0


sys.exit(main())
