"""Time from nothing to an answer, and what the idle servers weigh: `python -m benchmarks.start`.

Uses a state folder of its own, so that a running demo is not disturbed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.table import write

ROOT = Path(__file__).parents[1]
SERVERS = ("triton", "milvus", "postgres", "valkey", "s3")


class Stack:
    """A stack in a temporary state folder."""

    def __init__(self, home: str, carriers: Path | None) -> None:
        self._env = {**os.environ, "VISUALSEARCH_HOME": home}
        if carriers:
            self._env["VISUALSEARCH_CARRIERS"] = str(carriers)

    def run(self, *words: str) -> str:
        """Run the command; returns what it printed. Raises ``CalledProcessError`` with its output shown."""
        command = [sys.executable, "-m", "visualsearch.cli", *words]
        done = subprocess.run(command, env=self._env, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def timed(self, *words: str) -> float:
        """Seconds that a command takes."""
        begin = time.perf_counter()
        self.run(*words)
        return time.perf_counter() - begin


def memory_mb(status: dict[str, dict[str, object]], names: tuple[str, ...]) -> dict[str, float]:
    """Proportional set size (shared pages split fairly) of each process with its children, in MB."""
    sizes = {}
    for name in names:
        pids = status[name].get("pids") or [status[name]["pid"]]
        family = {
            process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
        }  # type: ignore[union-attr,arg-type]
        sizes[name] = sum(process.memory_full_info().pss for process in family) / 1e6
    return sizes


def main() -> None:
    """Measure and write the table."""
    query = str(sorted((ROOT / "demo" / "queries").iterdir())[0])
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(str(Path(folder) / "state"), None)
        rows = [("`up` to ready, first (servers downloaded and unpacked), s", f"{stack.timed('up', '--detach'):.1f}")]
        rows.append(("demo corpus indexed, s", f"{stack.timed('index', 'demo/pictures'):.1f}"))
        rows.append(("first search, s", f"{stack.timed('search', query):.1f}"))
        stack.run("down")
        rows.append(("`up` to ready, warm, s (target 25)", f"{stack.timed('up', '--detach'):.1f}"))
        rows.append(("first search after it, s", f"{stack.timed('search', query):.1f}"))
        time.sleep(30)
        sizes = memory_mb(json.loads(stack.run("status", "--json")), (*SERVERS, "indexer", "gateway"))
        servers = sum(sizes[name] for name in SERVERS)
        rows += [(f"idle memory of {name}, MB", f"{size:.0f}") for name, size in sizes.items()]
        rows.append(("idle memory of the five servers, MB (target 1200)", f"{servers:.0f}"))
        stack.run("down")
    note = "Idle memory is the proportional set size of each process with its children, 30 s after the last call."
    write("start", "From nothing to an answer", "python -m benchmarks.start", ("what", "value"), rows, note)


if __name__ == "__main__":
    main()
