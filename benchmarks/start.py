"""Time from a fresh clone to a search result, and memory of the idle servers: `python -m benchmarks.start`.

Works in a separate clone, so that a running demo is not disturbed.
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
SETTLE_S = 30
SERVERS = ("triton", "milvus", "postgres", "valkey", "s3")


def timed(*command: str, cwd: Path = ROOT, home: Path | None = None) -> float:
    """Return the seconds that a command takes. Exit with the command's output if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISUALSEARCH_")}
    if home:
        environment["VISUALSEARCH_HOME"] = str(home)
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return time.perf_counter() - begin


def memory_mb(processes: dict[str, dict[str, int]]) -> dict[str, float]:
    """Return the proportional set size (with shared pages divided) of each process with its children, in MB."""
    sizes = {}
    for name, entry in processes.items():
        leader = psutil.Process(entry["pid"])
        family = (leader, *leader.children(recursive=True))
        sizes[name] = sum(process.memory_full_info().pss for process in family) / 1e6
    return sizes


def main() -> None:
    """Measure and write the table."""
    query = str(sorted((ROOT / "demo" / "queries").iterdir())[0])
    command = (sys.executable, "-m", "cli.main")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "visual-search"
        home = clone / ".visualsearch"
        timed("git", "clone", "--quiet", str(ROOT), str(clone))
        rows = [
            ("`make demo` in a fresh clone, to the first answer, s", f"{timed('make', 'demo', cwd=clone):.1f}"),
            ("`make demo` again, s", f"{timed('make', 'demo', cwd=clone):.1f}"),
        ]
        timed("make", "down", cwd=clone)
        rows.append(("`make demo` after `make down`, s", f"{timed('make', 'demo', cwd=clone):.1f}"))
        timed("make", "down", cwd=clone)
        rows.append(("`up` to ready, warm, s (target 25)", f"{timed(*command, 'up', '--detach', home=home):.1f}"))
        rows.append(("first search after it, s", f"{timed(*command, 'search', query, home=home):.1f}"))
        time.sleep(SETTLE_S)
        sizes = memory_mb(json.loads((home / "run" / "state.json").read_text())["processes"])
        servers = sum(sizes[name] for name in SERVERS)
        rows += [(f"idle memory of {name}, MB", f"{size:.0f}") for name, size in sizes.items()]
        rows.append(("idle memory of the five servers, MB (target 1200)", f"{servers:.0f}"))
        timed("make", "down", cwd=clone)
    note = (
        f"Idle memory is the proportional set size of each process with its children, {SETTLE_S} s after the last call."
    )
    write("start", "From nothing to an answer", "python -m benchmarks.start", ("what", "value"), rows, note)


if __name__ == "__main__":
    main()
