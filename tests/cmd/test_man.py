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
    """{"--listen ADDR:PORT": facts, "[realm.NAME] sni = TEXT": facts}"""
    out, lines, section = {}, text.splitlines(), ""
    for i, line in enumerate(lines):
        head = re.match(r"(\[\w+\.NAME\]) in the file", line)
        section = head[1] + " " if head else section
        m = re.match(rf"  ({'[a-z]' if section else '-'}.*?)(?:\s{{2,}}(.*))?$", line)
        if m:
            tail = m[2] or ""
            after = lines[i + 1] if i + 1 < len(lines) else ""
            if not tail and after.startswith(" " * HELP_INDENT):
                tail = after.strip()
            # The number's range comes last of all, after a comma.
            has_number = m[1].endswith(" N")
            out[section + m[1]] = facts(
                tail if has_number else re.sub(r"\d+ to \d+", "", tail), r" \[([^\]]*)\]")
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


def entries(text, section):
    """What stands behind each .TP of .SH OPTIONS, or of its .SS `section`; and of the sections of
    the file, .SS [realm.NAME] of .SH SECTIONS, with that in front."""
    part = re.search(r"^\.SH OPTIONS\n(.*?)(?=^\.SH )", text, re.M | re.S)[1]
    if section:
        part = re.search(rf"^\.SS {section}\n(.*?)(?=^\.SS |\Z)", part, re.M | re.S)[1]
    for entry in part.split(".TP\n")[1:]:
        yield "", entry
    part = re.search(r"^\.SH SECTIONS\n(.*?)(?=^\.SH )", text, re.M | re.S)
    for head, body in re.findall(r"^\.SS (\S+)\n(.*?)(?=^\.SS |\Z)", part[1] if part else "",
                                 re.M | re.S):
        for entry in body.split(".TP\n")[1:]:
            yield head + " ", entry


def from_page(text, section):
    """The entries and what they say; with what comes twice."""
    out, twice = {}, []
    for kind, entry in entries(text, section):
        head, *body = entry.splitlines()
        words = " ".join(plain(line) for line in body)
        name = kind + plain(head)
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
    keys, section = {}, ""
    for line in run(argv, "--show-defaults").splitlines():
        head = re.match(r"#(\[\w+\.NAME\])$", line)
        section = head[1] + " " if head else section
        m = re.match(r"(#?)([a-z][a-z0-9-]*) = ?(.*)$", line)
        if m:
            # Those of a section are examples: they stand there as comments.
            keys[section + m[2]] = m[3] or None if section or not m[1] else None
    # An option's name stands alone on the left; -c and its like are for the command line only.
    common = ("check", "show-defaults", "version", "config")
    want = {}
    for tag, fact in program.items():
        m = re.match(r"(?:--|(?=\[))((?:\[\w+\.NAME\] )?[a-z0-9-]+)", tag)
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
