"""What the end-to-end tests share: the build folder, programs as processes, their log lines."""
import collections
import ctypes
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import pytest

BROWSER = pathlib.Path(__file__).resolve().parent / "browser"
TOP = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 20  # for anything that should take milliseconds; two slow cores, sanitizers


def pytest_addoption(parser):
    parser.addoption("--build", default="build", help="build folder to take the programs from")


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitized: also run on the build with sanitizers")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.failed = report.failed
        for name, text in (p.log_tail() for p in getattr(item, "programs", []) if report.failed):
            report.sections.append((f"log of {name}", text))


def free_port(kind=socket.SOCK_STREAM, host="127.0.0.1"):
    """A port that was free a moment ago. Prefer port 0 and the `listening` line where a program
    can do that: this is for programs that cannot."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def make_cert(folder, name, ip="127.0.0.2"):
    """(certificate, key): self-signed, for that name and address."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:{ip}",
                    "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


class Net:
    """A network namespace with a loopback device and these addresses on it. (127.0.0.0/8 is all
    there without asking; of IPv6 there is but ::1.)"""

    def __init__(self, *addresses):
        up = "set -e; ip link set lo up; for a; do ip addr add $a dev lo nodad; done; echo up; cat"
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", up, "sh", *addresses], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "up\n":
            pytest.skip(f"no network namespace: {self.holder.communicate()[1].strip()}")
        self.path = f"/proc/{self.holder.pid}/ns/net"

    def join(self):
        """A `preexec_fn`: the child lives there."""
        with open(self.path) as ns:
            if ctypes.CDLL(None, use_errno=True).setns(ns.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")

    def close(self):
        self.holder.communicate()


class Program:
    """A process that logs a JSON object a line; ended by its pid, never by its name."""

    def __init__(self, path, args, **popen):
        self.name = pathlib.Path(path).name
        self.lines = collections.deque(maxlen=2000)
        self.events = []
        self.changed = threading.Condition()
        self.done = False
        self.process = subprocess.Popen(
            [str(path), *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", **popen)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                if isinstance(event, dict):
                    self.events.append(event)
                self.changed.notify_all()
        with self.changed:
            self.done = True
            self.changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def wait_event(self, name, timeout=TIMEOUT_S, **fields):
        """The first event called `name` with these fields; fails when it does not come."""
        def found():
            for e in self.events:
                if e.get("event") == name and all(e.get(k) == v for k, v in fields.items()):
                    return e
            return None

        with self.changed:
            self.changed.wait_for(lambda: found() or self.done, timeout)
            event = found()
        if event is None:
            state = f"ended with {self.process.wait()}" if self.done else "still runs"
            tail = "\n".join(list(self.lines)[-20:])
            pytest.fail(f"{self.name} ({state}) never logged {name} {fields or ''}:\n{tail}")
        return event

    def wait(self, timeout=TIMEOUT_S):
        status = self.process.wait(timeout)
        self.reader.join(timeout)
        return status

    def stop(self, timeout=TIMEOUT_S):
        """SIGTERM, and what it ended with. A program that needs SIGKILL has a bug: it fails."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait(timeout)
            pytest.fail(f"{self.name} did not end within {timeout} s of SIGTERM")

    def log_tail(self):
        return self.name, "\n".join(self.lines)


@pytest.fixture(scope="session")
def build(request):
    folder = TOP / request.config.getoption("--build")
    if not (folder / "build.ninja").exists():
        pytest.exit(f"{folder} is not built: run `make build` first", 2)
    return folder


@pytest.fixture
def programs(request, build):
    """start("edge", ...) starts build/cmd/edge/causeway-edge; all are ended afterwards."""
    request.node.programs = []

    def start(name, *args, **popen):
        path = build / "cmd" / name / (f"causeway-{name}" if name != "causeway" else name)
        if name == "edge" and "--drain-limit" not in args:
            # Clients of other programs leave allocations behind; stopping must not wait for them.
            args = (*args, "--drain-limit", "0")
        p = Program(path, args, **popen)
        request.node.programs.append(p)
        return p

    yield start
    for p in reversed(request.node.programs):
        status = p.stop()
        # 77 is what the sanitizers exit with, see below.
        if status == 77:
            pytest.fail(f"{p.name}: a sanitizer complained:\n" + "\n".join(p.lines))


@pytest.fixture(scope="session", autouse=True)
def sanitizer_status():
    """A status no program of ours uses, so that a report cannot pass for an ordinary failure."""
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        os.environ[name] = (os.environ.get(name, "") + ":exitcode=77").lstrip(":")


def wait_until(what, condition, timeout=TIMEOUT_S):
    """For states that have no event. Asks again every 20 ms."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"not within {timeout} s: {what}")


def need(condition, what):
    if not condition:
        pytest.skip(what)


@pytest.fixture(scope="session")
def playwright():
    need(shutil.which("node") and shutil.which("npm"), "no node and npm here")
    need(os.access("/usr/bin/chromium", os.X_OK), "no /usr/bin/chromium here")
    if not (BROWSER / "node_modules" / "playwright-core").exists():
        npm = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                             cwd=BROWSER, capture_output=True, text=True, timeout=120)
        need(npm.returncode == 0, f"npm ci failed: {npm.stderr.strip()[-300:]}")
