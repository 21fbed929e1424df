"""Ending a process together with its children."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil


def kill_tree(leader: int) -> None:
    """Kill a process, its process group, and its children in other process groups."""
    try:
        children = psutil.Process(leader).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()
