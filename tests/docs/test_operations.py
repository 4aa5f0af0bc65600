#!/usr/bin/python3
"""docs/operations.md against the code: the tables of log events name each event that is logged,
with its levels and fields, and no other; the example configurations pass --check.

test_operations.py SOURCE_ROOT EDGE MEET; prints TAP."""
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

# Which files log for which table. A file of run/ or cmd/ with a LOG() must be here.
TABLES = {
    "causeway-edge": ["cmd/edge", "run/turn_ctl", "run/turn_metrics", "run/turn_run", "run/user_"],
    "causeway-meet": ["cmd/meet", "run/web_run"],
    "SIP, TURN and ICE of causeway-meet and causeway-lab": [
        "run/sip_run", "run/turn_client_run", "run/ice_run", "run/share_run", "run/xdata_run"],
    "causeway-lab": ["cmd/lab"],
}
LEVELS = {"error", "warn", "info", "debug"}


class Event:
    def __init__(self):
        self.levels, self.fields = set(), set()
        self.some_levels = self.some_fields = False  # the table may name fewer


def arguments(text, at):
    """The arguments of the call whose "(" is at `at`, as text."""
    out, begin, depth, quoted = [], at + 1, 0, False
    for i in range(at, len(text)):
        c = text[i]
        if c == '"' and text[i - 1] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (c in "([{") - (c in ")]}")
            if depth == 0 or (c == "," and depth == 1):
                out.append(text[begin:i].strip())
                begin = i + 1
            if depth == 0:
                return out
    raise ValueError("a call without its end")


def literals(text):
    return re.findall(r'"([^"]*)"', text)


def logged(root):
    """{table: {event: Event}}, and files that no table is for."""
    out = {table: collections.defaultdict(Event) for table in TABLES}
    homeless = []
    for path in [*(root / "cmd").rglob("*.c"), *(root / "run").rglob("*.c")]:
        name, text = path.relative_to(root).as_posix(), path.read_text()
        calls = [m.end() - 1 for m in re.finditer(r"\bLOG\(", text)]
        table = next((t for t, starts in TABLES.items() if name.startswith(tuple(starts))), None)
        if calls and not table:
            homeless.append(name)
            continue
        for at in calls:
            _, level, event, *fields = arguments(text, at)
            levels = [x.lower() for x in re.findall(r"LOG_([A-Z]+)", level)]
            names = literals(event)
            for i, name in enumerate(names):
                e = out[table][name]
                # "bad ? LOG_ERROR : LOG_INFO, bad ? "not-saved" : "saved"" goes pairwise.
                e.levels |= {levels[i]} if len(levels) == len(names) else set(levels or LEVELS)
                e.some_levels |= not levels  # a variable has it
                e.fields |= {k for f in fields for k in re.findall(r'^LOG_[SBN]\(\s*"([^"]*)"', f)}
    add_reports(root, out["causeway-edge"])
    return out, homeless


def add_reports(root, events):
    """What the TURN core reports, run/turn_run_log.c prints: those of its fields that are set."""
    keys = set(re.findall(r'(?:LOG_[SBN]\(|put_(?:addr|id)\(&f, )"(\w+)"',
                          (root / "run/turn_run_log.c").read_text()))
    for path in (root / "lib/turn").glob("*.c"):
        for m in re.finditer(r'\b(?:report_put|report_peer|alloc_end|alloc_cut)\('
                             r's, (?:a, |TIMER_OWNER\([^)]*\), )?"([a-z-]+)"',
                             path.read_text()):
            e = events[m[1]]
            e.levels, e.fields = e.levels | {"info", "debug"}, e.fields | keys
            e.some_levels = e.some_fields = True


def documented(text):
    """{table: {event: Event}} and events that stand twice in one table."""
    out, twice = {}, []
    for table in TABLES:
        m = re.search(rf"^### {re.escape(table)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
        out[table] = {}
        for row in re.findall(r"^\| `([^`]+)` \| ([^|]*)\| ([^|]*)\|", m[1] if m else "", re.M):
            if row[0] in out[table]:
                twice.append(row[0])
            e = out[table][row[0]] = Event()
            e.levels = set(re.findall(r"\w+", row[1]))
            e.fields = set(re.findall(r"`([^`]+)`", row[2]))
    return out, twice


def compare(code, page):
    for name in sorted(code.keys() - page.keys()):
        yield f"{name}: logged, but not in the table"
    for name in sorted(page.keys() - code.keys()):
        yield f"{name}: in the table, but not logged"
    for name in sorted(code.keys() & page.keys()):
        c, p = code[name], page[name]
        if not p.levels or not p.levels <= c.levels or not (
                c.some_levels or p.levels == c.levels):
            yield f"{name}: levels {sorted(p.levels)} in the table, {sorted(c.levels)} logged"
        if not p.fields <= c.fields or not (c.some_fields or p.fields == c.fields):
            yield f"{name}: fields differ: {sorted(p.fields ^ c.fields)}"


def check_examples(text, programs):
    blocks = re.findall(r"^```ini\n(; (causeway-\w+):.*?)^```", text, re.M | re.S)
    if {name for _, name in blocks} != set(programs):
        yield f"examples of {sorted(name for _, name in blocks)}, want {sorted(programs)}"
    for block, name in blocks:
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
            f.write(block)
            f.flush()
            got = subprocess.run([programs[name], "-c", f.name, "--check"], capture_output=True,
                                 text=True, timeout=60)
        if got.returncode != 0:
            yield f"{name}: {got.stderr.strip()}"


def check_alerts(root, text):
    """The alert rules use metrics that the page explains, and the page has each rule."""
    rules = (root / "contrib/prometheus-alerts.yml").read_text()
    explained = set(re.findall(r"`(causeway_\w+)`", text))
    for name in sorted(set(re.findall(r"causeway_\w+", rules)) - explained):
        yield f"{name}: in a rule, but not in the page"
    have = set(re.findall(r"^ *- alert: (\w+)$", rules, re.M))
    for name in sorted(have ^ set(re.findall(r"^\| `(Causeway\w+)` ", text, re.M))):
        yield f"{name}: in only one of the rules and the page"


def check_trouble(text, page):
    """The events that the page sends one to are logged."""
    part = re.search(r"^## Troubleshooting\n(.*?)(?=^## )", text, re.M | re.S)[1]
    for row in re.findall(r"^\|[^|]*\|([^|]*)\|", part, re.M)[2:]:
        for name in re.findall(r"`([a-z-]+)`", re.sub(r"\([^)]*\)", "", row)):
            if name not in page:
                yield f"{name}: no such event"


def main():
    root = pathlib.Path(sys.argv[1])
    text = (root / "docs/operations.md").read_text()
    code, homeless = logged(root)
    page, twice = documented(text)
    results = [("every file that logs belongs to a table", homeless),
               ("no event stands twice in a table", twice)]
    for table in TABLES:
        why = list(compare(code[table], page[table]))
        if not code[table]:
            why.append("found no event in the code: does this test still read it?")
        results.append((f"events of {table}", why))
    results.append(("events are spelled with hyphens",
                    [e for t in code.values() for e in t if not re.fullmatch("[a-z-]+", e)]))
    results.append(("the alert rules and the page agree", list(check_alerts(root, text))))
    results.append(("troubleshooting names events that there are",
                    list(check_trouble(text, page["causeway-edge"]))))
    results.append(("the examples pass --check", list(check_examples(
        text, {"causeway-edge": sys.argv[2], "causeway-meet": sys.argv[3]}))))
    print(f"1..{len(results)}")
    for n, (what, why) in enumerate(results, 1):
        print("ok" if not why else "not ok", n, "-", what)
        for line in why:
            print("#", line)
    return 1 if any(why for _, why in results) else 0


if __name__ == "__main__":
    sys.exit(main())
