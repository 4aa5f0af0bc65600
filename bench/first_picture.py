#!/usr/bin/python3
"""How long from the INVITE to the first whole picture, over the whole demonstration.

Runs `causeway demo --once` several times and prints each figure with minimum, median and
maximum. It judges nothing: machines differ, and shared ones from minute to minute."""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile


def once(causeway):
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run([causeway, "demo", "--once", "--out", out], capture_output=True,
                              text=True, timeout=120)
        if done.returncode != 0:
            sys.exit(f"the demonstration failed ({done.returncode}):\n{done.stdout[-2000:]}"
                     f"{done.stderr[-2000:]}")
        return json.loads((pathlib.Path(out) / "result.json").read_text())


def main():
    causeway, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    results = [once(causeway) for _ in range(runs)]
    print(f"{'':32}{'min':>9}{'median':>9}{'max':>9}   ({runs} runs)")
    for name, unit in (("first_picture_ms", "ms"), ("psnr_db", "dB")):
        values = [r[name] for r in results]
        print(f"{name:32}{min(values):9.1f}{statistics.median(values):9.1f}"
              f"{max(values):9.1f}   {unit}")
    for step in results[0]["steps"]:
        values = [s["ms"] for r in results for s in r["steps"] if s["name"] == step["name"]]
        print(f"  {step['name'][:30]:30}{min(values):9.0f}{statistics.median(values):9.0f}"
              f"{max(values):9.0f}   ms")


main()
