"""The pages in Debian's Chromium, driven by playwright-core: browser/page.test.js."""
import os
import subprocess

from conftest import BROWSER


def test_pages(build, playwright):
    env = dict(os.environ, WEB_DEMO=str(build / "tests" / "run" / "web_demo"))
    run = subprocess.run(["node", "--test", "page.test.js"], cwd=BROWSER, env=env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    assert run.returncode == 0, run.stdout


def test_canvas_tool(build, playwright, tmp_path):
    """What other tests take their pictures with: the same pixels as the server's own snapshot."""
    demo = subprocess.Popen([build / "tests" / "run" / "web_demo"], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        port = demo.stdout.readline().strip().removeprefix("port=")
        out = tmp_path / "canvas.png"
        run = subprocess.run(["node", "canvas.js", f"http://127.0.0.1:{port}/space/demo", out,
                              "--lossless"], cwd=BROWSER, capture_output=True, text=True,
                             timeout=60)
        assert run.returncode == 0, run.stderr
        assert '"state":"live"' in run.stdout and '"width":800,"height":600' in run.stdout
        assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    finally:
        demo.stdin.close()
        assert demo.wait(20) == 0
