#!/usr/bin/python3
"""What debian/ repeats of the tree is the same there: the version, the packages that building
needs, the programs and manual pages that are installed.

test_packaging.py SOURCE_ROOT; prints TAP."""
import pathlib
import re
import sys


def fields(text, name):
    """The package names of a (folded) dependency field."""
    body = re.search(rf"^{name}:(.*(?:\n .*)*)", text, re.M)[1]
    return {re.match(r"[a-z0-9+.-]+", part.strip())[0] for part in body.split(",")}


def versions(root):
    meson = re.search(r"version: '([^']+)'", (root / "meson.build").read_text())[1]
    log = re.match(r"causeway \((.*?)\)", (root / "debian/changelog").read_text())[1]
    if meson != log:
        yield f"meson.build has {meson}, debian/changelog {log}"


def build_packages(root):
    """`make deb` installs with tools/setup what dpkg-buildpackage then looks for."""
    setup = (root / "tools/setup").read_text()
    have = set(" ".join(re.findall(r'^(?:RUN|DEB)="(?:\$RUN)?(.*?)"', setup, re.M | re.S)).split())
    want = fields((root / "debian/control").read_text(), "Build-Depends")
    # debhelper provides the one, and python3 is there wherever meson is.
    for name in sorted(want - have - {"debhelper-compat", "python3"}):
        yield f"{name}: in debian/control, but not in tools/setup"
    for name in sorted(n for n in have - want if n.startswith("lib") and "-" in n):
        yield f"{name}: in tools/setup, but not in debian/control"


def installed(root):
    lists = "".join(p.read_text() for p in (root / "debian").glob("*.install"))
    want = {f"usr/share/man/man{p.suffix[1:]}/{p.name}" for p in (root / "docs/man").glob("*.[1-8]")}
    for build in (root / "cmd").glob("*/meson.build"):
        want |= {f"usr/bin/{name}" for name in
                 re.findall(r"executable\('(causeway[a-z-]*)'", build.read_text())}
    have = set(re.findall(r"^usr/\S+", lists, re.M))
    for name in sorted(want ^ have):
        yield f"{name}: {'in no package' if name in want else 'packaged, but not in the tree'}"


def main():
    root = pathlib.Path(sys.argv[1])
    results = [("one version", list(versions(root))),
               ("debian/control and tools/setup build with the same libraries", list(build_packages(root))),
               ("every program and page is in a package", list(installed(root)))]
    print(f"1..{len(results)}")
    for n, (what, why) in enumerate(results, 1):
        print("ok" if not why else "not ok", n, "-", what)
        for line in why:
            print("#", line)
    return 1 if any(why for _, why in results) else 0


if __name__ == "__main__":
    sys.exit(main())
