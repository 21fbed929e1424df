"""The group of the gateway's worker processes. Each one knows how many of them are serving."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

SHUTDOWN_S = 5
"""How long requests in flight may take to finish after the signal to stop."""
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the shared folder. prometheus_client defines it, and sums the processes' metrics there."""
READY = "ready-"
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Return the number of cores that this process may use, within the CPU quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = QUOTA.read_text().partition(" ") if QUOTA.exists() else ("max", "", "")
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


@dataclass(slots=True)
class WorkerGroup:
    """``size`` processes that share ``folder``. Each keeps a file named after its pid there while it serves."""

    folder: Path
    size: int
    _complete: bool = field(default=False, init=False)

    def join(self) -> None:
        """Mark this process as serving."""
        (self.folder / f"{READY}{os.getpid()}").touch()

    def leave(self, pid: int | None = None) -> None:
        """Mark a process as not serving: this one, or one that died without doing so itself."""
        (self.folder / f"{READY}{pid or os.getpid()}").unlink(missing_ok=True)

    def missing(self) -> str:
        """Return how many processes serve, or ``""`` once all have served at the same time.

        After that it is always ``""``: while a process that died is being replaced, the others answer.
        """
        if not self._complete:
            count = len(list(self.folder.glob(f"{READY}*")))
            self._complete = count >= self.size
            return "" if self._complete else f"{count} of {self.size} processes serve"
        return ""
