"""The gateway's processes, as one of them sees the others."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

SHUTDOWN_S = 5
"""How long requests in flight may take to finish when a process is told to stop."""
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name for the folder through which processes add their metrics up; ours lie there too."""
READY = "ready-"
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Count the cores that this process may use: of the machine, or of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = QUOTA.read_text().partition(" ") if QUOTA.exists() else ("max", "", "")
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


@dataclass(slots=True)
class WorkerGroup:
    """``size`` processes that share ``folder``, where each leaves a file named after its pid while it serves."""

    folder: Path
    size: int
    _complete: bool = field(default=False, init=False)

    def join(self) -> None:
        """Say that this process serves."""
        (self.folder / f"{READY}{os.getpid()}").touch()

    def leave(self, pid: int | None = None) -> None:
        """Say that a process serves no longer: this one, or another that can't say so itself."""
        (self.folder / f"{READY}{pid or os.getpid()}").unlink(missing_ok=True)

    def missing(self) -> str:
        """Say what is missing until all have served at once.

        Afterwards nothing is: while one that died is being replaced, the others answer.
        """
        if not self._complete:
            count = len(list(self.folder.glob(f"{READY}*")))
            self._complete = count >= self.size
            return "" if self._complete else f"{count} of {self.size} processes serve"
        return ""
