#!/usr/bin/python3
"""The manual pages against the programs: each option once, with its value, range and default.

test_man.py SOURCE_ROOT EDGE MEET LAB CONFORM CAUSEWAY; prints TAP."""
import pathlib
import re
import subprocess
import sys

HELP_INDENT = 34  # where --help puts the text of an option whose name is too long for one line


def run(argv, option):
    return subprocess.run([*argv, option], capture_output=True, text=True, check=True,
                          timeout=60).stdout


def facts(text, default):
    """What a reader must be able to rely on, out of either text."""
    span = re.search(r"\b(\d+ to \d+)( seconds| pixels)?(?=[.,\s]|$)", text)
    value = re.search(default, text)
    return {
        "range": (span[1] + (span[2] or "")) if span else None,
        "default": value[1] if value else None,
        "again": re.search(r"\(may come again\)|\bMay come again\.", text) is not None,
        "required": re.search(r"\(required\)|\bRequired\.", text) is not None,
    }


def from_help(text):
    """{"--listen ADDR:PORT": facts}"""
    out, lines = {}, text.splitlines()
    for i, line in enumerate(lines):
        m = re.match(r"  (-.*?)(?:\s{2,}(.*))?$", line)
        if m:
            tail = m[2] or ""
            after = lines[i + 1] if i + 1 < len(lines) else ""
            if not tail and after.startswith(" " * HELP_INDENT):
                tail = after.strip()
            # The number's range comes last of all, after a comma.
            has_number = m[1].endswith(" N")
            out[m[1]] = facts(tail if has_number else re.sub(r"\d+ to \d+", "", tail),
                              r" \[([^\]]*)\]")
    return out


def plain(line):
    """A line of man macros as a reader sees it."""
    m = re.match(r"\.(B|I|BR|BI|RB|IR|RI)\s+(.*)$", line)
    if m:
        words = re.findall(r'"([^"]*)"|(\S+)', m[2])
        glue = "" if len(m[1]) == 2 else " "
        line = glue.join(a or b for a, b in words)
    elif line.startswith("."):
        return ""
    return re.sub(r"\\f.", "", line).replace("\\-", "-").replace("\\e", "\\").strip()


def from_page(text, section):
    """The entries of .SH OPTIONS, or of its .SS `section`; with what comes twice."""
    part = re.search(r"^\.SH OPTIONS\n(.*?)(?=^\.SH )", text, re.M | re.S)[1]
    if section:
        part = re.search(rf"^\.SS {section}\n(.*?)(?=^\.SS |\Z)", part, re.M | re.S)[1]
    out, twice = {}, []
    for entry in part.split(".TP\n")[1:]:
        head, *body = entry.splitlines()
        words = " ".join(plain(line) for line in body)
        name = plain(head)
        if name in out:
            twice.append(name)
        has_number = name.endswith(" N")
        out[name] = facts(words if has_number else re.sub(r"\d+ to \d+", "", words),
                          r"Default: (\S+)\.(?=\s|$)")
    return out, twice


def differences(program, page):
    for name in sorted(program.keys() - page.keys()):
        yield f"{name}: not in the page"
    for name in sorted(page.keys() - program.keys()):
        yield f"{name}: not in --help"
    for name in sorted(program.keys() & page.keys()):
        for fact, value in program[name].items():
            if page[name][fact] != value:
                yield f"{name}: {fact} is {value} in --help, {page[name][fact]} in the page"


def show_defaults(argv, program):
    """--show-defaults names the same keys, with the same values."""
    keys = {}
    for off, key, value in re.findall(r"^(#?)([a-z][a-z-]*) = ?(.*)$",
                                      run(argv, "--show-defaults"), re.M):
        keys[key] = None if off else value
    # An option's name stands alone on the left; -c and its like are for the command line only.
    common = ("check", "show-defaults", "version", "config")
    want = {}
    for tag, fact in program.items():
        m = re.match(r"--([a-z-]+)", tag)
        if m and m[1] not in common:
            want[m[1]] = fact["default"]
    for key in sorted(want.keys() ^ keys.keys()):
        yield f"{key}: in only one of --help and --show-defaults"
    for key in sorted(want.keys() & keys.keys()):
        if want[key] != keys[key]:
            yield f"{key}: default {want[key]} in --help, {keys[key]} in --show-defaults"


def main():
    root = pathlib.Path(sys.argv[1])
    edge, meet, lab, conform, causeway = sys.argv[2:7]
    pages = [
        ("causeway-edge.8", None, [edge]),
        ("causeway-meet.8", None, [meet]),
        ("causeway-lab.1", "share", [lab, "share"]),
        ("causeway-lab.1", "front-end", [lab, "front-end"]),
        ("causeway-conform.1", None, [conform]),
        ("causeway.1", "demo", [causeway, "demo"]),
    ]
    print(f"1..{2 * len(pages)}")
    failed = False
    for i, (page, section, argv) in enumerate(pages):
        program = from_help(run(argv, "--help"))
        entries, twice = from_page((root / "docs/man" / page).read_text(), section)
        bad = [f"{name}: in the page twice" for name in twice]
        bad += differences(program, entries)
        other = list(show_defaults(argv, program))
        for n, (what, why) in enumerate([("page and --help", bad),
                                         ("--help and --show-defaults", other)], 2 * i + 1):
            print("ok" if not why else "not ok", n, "-", page, section or "", what)
            for line in why:
                print("#", line)
            failed = failed or bool(why)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
