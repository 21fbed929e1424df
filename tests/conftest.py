"""The real servers for the tests: a separate stack, independent of other stacks on the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from compose.launch import ON_REQUEST
from compose.private_network import why_not
from tests.documented import assert_documented
from tests.otlp_collector import Collector, collecting
from visualsearch.settings import Settings

ROOT = Path(__file__).parents[1]
IN_CI = bool(os.environ.get("CI"))
UP_TIMEOUT_S = 600
"""The first start downloads and unpacks the servers."""


def missing(what: str) -> None:
    """Skip a test for want of something on a laptop; fail it in CI."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


class Stack:
    """A running local stack in a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        server_binaries = ROOT / ".visualsearch" / "server-binaries"
        self.env = {
            **os.environ,
            "VISUALSEARCH_HOME": str(home),
            "VISUALSEARCH_SERVER_BINARIES": str(server_binaries),
            # Tests wait for events that the stream has lost to be published again.
            "VISUALSEARCH_SWEEP_AFTER_S": "10",
        }
        if why_not():  # the tests of a private network are skipped there
            self.env["VISUALSEARCH_ACCEPT_OPEN_SERVERS"] = "1"

    def command(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run the `visualsearch` command against this stack; one that hangs fails with what it said so far."""
        try:
            return subprocess.run(
                [sys.executable, "-m", "cli.main", *words],
                env=self.env,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            # What was read until then comes as bytes, cut off anywhere.
            parts = (one for one in (late.stdout, late.stderr) if isinstance(one, bytes))
            said = b"".join(parts).decode(errors="replace")
            pytest.fail(f"visualsearch {' '.join(words)} was not done after {timeout_s} s; it said: {said}")

    def kill(self) -> None:
        """Kill every process of this stack at once."""
        state = orjson.loads((self.home / "run" / "state.json").read_bytes())
        os.kill(state["supervisor"]["pid"], signal.SIGKILL)
        for process in state["processes"].values():
            os.killpg(process["pid"], signal.SIGKILL)

    def settings(self) -> Settings:
        """Settings as a process of this stack would load them."""
        before = os.environ.get("VISUALSEARCH_HOME")
        os.environ["VISUALSEARCH_HOME"] = str(self.home)
        try:
            return Settings.load()
        finally:
            if before is None:
                del os.environ["VISUALSEARCH_HOME"]
            else:
                os.environ["VISUALSEARCH_HOME"] = before


def everything_reachable() -> list[str]:
    """Options of `up` for tests that talk to each server directly."""
    if why_not():
        return ["--accept-open-servers"]
    return [f"--publish={name}" for name in ON_REQUEST]


@pytest.fixture(scope="session")
def collector():
    """What the shared stack's traces are sent to: a kept stack's to the address that it was started with."""
    with collecting(urlsplit(os.environ.get("VISUALSEARCH_OTLP_ENDPOINT", "")).port or 0) as collector:
        yield collector


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, collector: Collector):
    """The stack that most tests share, with its command; started once, stopped at the end."""
    if sys.platform != "linux":
        missing("Linux")
    if kept := os.environ.get("VISUALSEARCH_TEST_HOME"):  # a stack that somebody has up already, for quick turns
        yield Stack(Path(kept))
        return
    stack = Stack(tmp_path_factory.mktemp("stack") / "state")
    # A repository of its own, for tests that publish versions.
    shutil.copytree(ROOT / "model_repository", stack.home / "model_repository")
    stack.env["VISUALSEARCH_MODEL_REPOSITORY"] = str(stack.home / "model_repository")
    stack.env["VISUALSEARCH_OTLP_ENDPOINT"] = collector.url
    up = stack.command("up", "--detach", *everything_reachable(), timeout_s=UP_TIMEOUT_S)
    if up.returncode:
        logs = stack.command("logs").stdout
        stack.command("down")
        pytest.fail(f"the local stack did not start:\n{up.stdout}\n{up.stderr}\n{logs}")
    yield stack
    down = stack.command("down")
    assert down.returncode == 0, down.stdout + down.stderr


@pytest.fixture(scope="session")
def stack(running: Stack) -> Settings:
    """Addresses and credentials of the running stack."""
    return running.settings()


@pytest.fixture(scope="session")
def demo_stack(running: Stack, stack: Settings) -> Settings:
    """The running stack with the demo corpus indexed."""
    indexed = running.command("index", "demo/pictures", timeout_s=600)
    assert indexed.returncode == 0, indexed.stdout + indexed.stderr
    return stack


@pytest.fixture(scope="session")
def api(stack: Settings):
    """A client of the running gateway, which fails a test that gets an answer the OpenAPI document does not list."""
    with httpx.Client(base_url=stack.url, timeout=30, event_hooks={"response": [assert_documented]}) as client:
        yield client


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        missing("Chromium")
    return str(found)
