#!/usr/bin/python3
"""docs/security.md against the tree: each test that it names is there and runs; and some promises
that hold for the source as a whole.

test_security.py SOURCE_ROOT; prints TAP."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
SOURCES = [p for top in ("lib", "io", "run", "cmd") for p in (ROOT / top).rglob("*.[ch]")]
# Rows there must be, whatever they say.
WANTED = """CVE-2020-26262 CVE-2026-27624 CVE-2026-73212 6c13608c 570 CVE-2020-3482 CVE-2018-4058
CVE-2018-4059 CVE-2018-4056 GHSA-v8hj-2xx7-xmp5 CVE-2020-6061 CVE-2020-6062 CVE-2020-4067
CVE-2026-43994 CVE-2026-104074 CVE-2025-69217 GHSA-4g7c-p5wg-j4hp
ab762f33 e72930f5 a97f1924 3c5b2615 4adbd82e GHSA-5x2p-4vqj-f6m4 1999 sngrep turn-to-self reflection""".split()


def code_of(path):
    """Without comments and strings' insides."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def rows():
    text = (ROOT / "docs/security.md").read_text().split("## What went wrong elsewhere")[1]
    return [line.split("|")[1:-1] for line in text.splitlines()
            if line.startswith("| ") and not line.startswith("| what |")]


def is_defined(path, name):
    text = path.read_text()
    if path == pathlib.Path(__file__).resolve():
        return f"def {name}(" in text
    if path.suffix == ".py":
        return re.search(rf"^def {name}\(", text, re.M)
    # Defined, and in the list of tests as well.
    return len(re.findall(rf"\b{name}\b", text)) >= (1 if name in ("main", "LLVMFuzzerTestOneInput")
                                                     else 2)


def named_tests_exist():
    wrong = []
    for what, *_, tests in rows():
        named = re.findall(r"`([\w./]+): (\w+)`", tests)
        if not named:
            wrong.append(f"{what.strip()}: no test")
        for path, name in named:
            if not (ROOT / path).exists() or not is_defined((ROOT / path).resolve(), name):
                wrong.append(f"{what.strip()}: no {name} in {path}")
    have = " ".join(row[0] for row in rows())
    return wrong + [f"no row for {w}" for w in WANTED if w not in have]


def calls(pattern):
    return [f"{p.relative_to(ROOT)}: {m[0]}" for p in SOURCES
            for m in re.finditer(pattern, code_of(p))]


def no_weak_random_numbers():
    return calls(r"(?<![.>\w])(?:rand|srand|rand_r|random|srandom|[delnm]rand48|srand48)\(")


def formats_are_literals():
    """The compiler checks each call: here that it is asked to, and nothing goes around it."""
    wrong = calls(r"\b(?:sprintf|vsprintf|strcpy|strcat|gets|system|popen|syslog)\(")
    if "'-Wformat=2'" not in (ROOT / "meson.build").read_text():
        wrong.append("meson.build: no -Wformat=2")
    return wrong + [f"{p.relative_to(ROOT)}: -Wformat is switched off" for p in SOURCES
                    if re.search(r"diagnostic ignored.*format", p.read_text(), re.I)]


def control_has_no_file_verbs():
    text = (ROOT / "run/turn_ctl.c").read_text()
    verbs = set(re.findall(r'^    \{"(\w+)",\s*do_', text, re.M))
    opens = re.findall(r"\b(?:fopen|open|openat|creat)\(", code_of(ROOT / "run/turn_ctl.c"))
    known = {"sessions", "session", "kick", "drain", "reload", "stats"}
    return [f"a verb {v}: does it touch files?" for v in verbs - known] + opens


def main():
    checks = [named_tests_exist, no_weak_random_numbers, formats_are_literals,
              control_has_no_file_verbs]
    print(f"1..{len(checks)}")
    status = 0
    for i, check in enumerate(checks, 1):
        wrong = check()
        print(f"{'not ok' if wrong else 'ok'} {i} {check.__name__}")
        for line in wrong:
            print(f"# {line}")
            status = 1
    sys.exit(status)


main()
