"""Fault injection: kill processes, or halt them so that they keep their connections but do not respond."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import psutil

from tests.conftest import Stack
from tests.eventually import eventually_sync

KILLED = ("triton", "stub", "milvus", "postgres", "valkey", "s3", "indexer", "gateway")
STOPPED = tuple(name for name in KILLED if name != "stub")
ROUNDS = 2
STUB = "triton_python_backend_stub"
QUICK = "kill:indexer,kill:stub,stop:valkey"
FIND_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`kill` sends SIGKILL to one process; `stop` sends SIGSTOP to it and its children, until ``resume``."""

    kind: Literal["kill", "stop"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def plan() -> list[Fault]:
    """Return every fault, or those in VISUALSEARCH_CHAOS: `quick`, or a list such as `kill:indexer,stop:valkey`."""
    wish = os.environ.get("VISUALSEARCH_CHAOS", "")
    if not wish:
        return [Fault("kill", name) for _ in range(ROUNDS) for name in KILLED] + [
            Fault("stop", name) for name in STOPPED
        ]
    faults = []
    for words in (QUICK if wish == "quick" else wish).split(","):
        kind, _, name = words.strip().partition(":")
        if kind == "kill" and name in KILLED:
            faults.append(Fault("kill", name))
        elif kind == "stop" and name in STOPPED:
            faults.append(Fault("stop", name))
        else:
            raise ValueError(f"{words!r} is no fault: kill:NAME or stop:NAME with one of {', '.join(KILLED)}")
    return faults


def status(stack: Stack) -> dict[str, Any]:
    """Return the output of `visualsearch status --json`."""
    done = stack.command("status", "--json", timeout_s=60)
    if done.returncode:
        raise AssertionError(f"visualsearch status failed:\n{done.stdout}\n{done.stderr}")
    described: dict[str, Any] = orjson.loads(done.stdout)
    return described


def find(stack: Stack, name: str) -> psutil.Process:
    """Return the process of a service; wait a while for one that is starting."""

    def found() -> psutil.Process | None:
        pid = status(stack)["triton" if name == "stub" else name]["pid"]
        process = psutil.Process(pid) if pid else None
        return _stub(process) if process and name == "stub" else process

    process: psutil.Process = eventually_sync(found, FIND_S, every_s=0.5, errors=psutil.NoSuchProcess)
    return process


def _stub(triton: psutil.Process) -> psutil.Process | None:
    return next((child for child in triton.children(recursive=True) if STUB in child.name()), None)


def strike(fault: Fault, process: psutil.Process) -> list[psutil.Process]:
    """Inject the fault; return the halted processes."""
    if fault.kind == "kill":
        process.kill()
        return []
    halted = [process, *process.children(recursive=True)]
    for one in halted:
        try:
            one.suspend()
        except psutil.NoSuchProcess:  # a child may end by itself between the listing and the signal
            continue
    return halted


def resume(halted: Sequence[psutil.Process]) -> None:
    for one in halted:
        try:
            one.resume()
        except psutil.NoSuchProcess:  # the supervisor replaces what does not answer
            continue
