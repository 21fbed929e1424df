"""Keep the processes of one stack running: `python -m compose.supervisor --home FOLDER`.

A process that dies is restarted with increasing delays. A live process that keeps failing its probe is killed and
restarted. This also recovers a Triton whose model process is dead, which its own health endpoints do not show.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from compose import apps, milvus_server, probes, server_binaries, servers
from compose.launch import LISTENERS
from compose.process_tree import kill_tree
from compose.renewal import keep_renewed
from compose.stack_plan import StackPlan
from compose.state import Ports, credentials, remove_shared_memory, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.servers import Service

READY_EVERY_S, ALIVE_EVERY_S = 0.2, 4.0
PROBE_TIMEOUT_S = 6.0
INIT_TRIES, INIT_PAUSE_S = 6, 5.0
START_S = 120.0
"""A process that is not ready after this long is restarted."""
BACKOFF_S, MAX_BACKOFF_S, FORGIVEN_S = 0.5, 30.0, 60.0
DOUBTS = 2
"""Consecutive failures after which a process no longer counts as ready. A single failure may be transient."""
TEXT = 300
"""Maximum characters of an error in the state file."""
LOG_BYTES = 10 * 2**20


class ManagedProcess:
    """Starts one service, probes it and restarts it."""

    def __init__(self, service: Service, home: Path, listeners: dict[str, int], changed: Callable[[], None]) -> None:
        self.service = service
        self._listeners = listeners
        self._sockets = [listeners[name] for name in service.sockets if name in listeners]
        self.ready = asyncio.Event()
        self.restarts = 0
        self.health = "waiting"
        self._log = home / "logs" / f"{service.name}.log"
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._created = 0.0
        self._stopping = asyncio.Event()

    def entry(self) -> dict[str, Any]:
        """Return the state file's entry for this service."""
        process = self._process
        alive = process is not None and process.returncode is None
        return {
            **self.service.addresses,
            "pid": process.pid if process and alive else None,
            "created": self._created,
            "ready": self.ready.is_set(),
            "restarts": self.restarts,
            "health": self.health,
            "barrier": self.service.barrier,
            "reachable_from": self._reachable_from(),
            "encryption": self.service.encryption,
            "forks": self.service.forks,
        }

    def _reachable_from(self) -> str:
        """Return who can connect: ``stack`` (its own processes), ``machine`` (every user of it) or ``network``."""
        if not self._listeners:
            return "network" if self.service.binds_all else "machine"
        return "machine" if any(port in self._listeners for port in self.service.ports) else "stack"

    async def keep(self) -> None:
        """Run the service until ``stop`` is called."""
        pause = BACKOFF_S
        while not self._stopping.is_set():
            begin = time.monotonic()
            try:
                await self._run_once()
            except Exception as error:
                self._say(f"cannot start: {error}", ready=False)
            if self._stopping.is_set():
                break
            pause = BACKOFF_S if time.monotonic() - begin > FORGIVEN_S else min(pause * 2, MAX_BACKOFF_S)
            self.restarts += 1
            self._changed()
            await asyncio.sleep(pause)

    async def _run_once(self) -> None:
        await asyncio.to_thread(self.service.prepare)
        if self._stopping.is_set():
            return
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.service.argv,
                cwd=self.service.cwd,
                env={**os.environ, **self.service.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._sockets,
            )
        self._created = psutil.Process(self._process.pid).create_time()
        self._say("starting", ready=False)
        watch = asyncio.create_task(self._watch())
        try:
            code = await self._process.wait()
        finally:
            watch.cancel()
            self._kill()
        self._say(f"ended with {code}", ready=False)

    async def _watch(self) -> None:
        """Probe the process until it has to be killed; return after killing it."""
        well, failures, patience = time.monotonic(), 0, START_S
        while True:
            error = await _failure(self.service.probe)
            if error is None:
                failures, patience = 0, self.service.patience_s
                self._say("ok", ready=True)
            else:
                failures += 1
                if self.ready.is_set() and failures >= DOUBTS:
                    self._say(f"failing: {error!r}"[:TEXT], ready=False)
            if error is None or (self.service.alive and await _failure(self.service.alive) is None):
                well = time.monotonic()
            elif isinstance(error, probes.Broken) or time.monotonic() - well > patience:
                self._say(f"killed, since it failed: {error!r}"[:TEXT], ready=False)
                self._kill()
                return
            await asyncio.sleep(READY_EVERY_S if error else ALIVE_EVERY_S)

    async def stop(self) -> None:
        """Stop the process: terminate it, wait, then kill it."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            process.send_signal(signal.Signals[self.service.stop_signal])
            await asyncio.wait_for(process.wait(), self.service.stop_s)
        except (TimeoutError, ProcessLookupError):
            self._say("did not stop in time")
        self._kill()
        await process.wait()

    def _kill(self) -> None:
        if self._process is not None:
            kill_tree(self._process.pid)

    def _say(self, health: str, ready: bool | None = None) -> None:
        if ready is True:
            self.ready.set()
        elif ready is False:
            self.ready.clear()
        if health != self.health:
            self.health = health
            self._changed()


async def _failure(probe: Callable[[], None]) -> Exception | None:
    """Run a blocking probe; return its exception, or None on success."""
    try:
        await asyncio.wait_for(asyncio.to_thread(probe), PROBE_TIMEOUT_S)
    except Exception as error:
        return error
    return None


class Supervisor:
    """Runs all managed processes of one stack, and writes the state file."""

    def __init__(self, home: Path, *, lite: bool = False, tls: bool = False) -> None:
        self._home = home
        self._phase, self._error = "starting", ""
        unpacked = server_binaries.folder_of(home)
        ports, secrets = Ports.load(home / "ports.json"), credentials(home / "secrets.env")
        listeners: dict[str, int] = json.loads(os.environ.pop(LISTENERS, "{}"))
        plan = self._plan = StackPlan(home, unpacked, ports, secrets, listeners, tls)
        if tls:
            plan.certificates.ensure()
        heavy = [apps.milvus_lite(plan)] if lite else [servers.triton(plan), milvus_server.milvus(plan)]
        front = [apps.relay(plan)] if listeners else []
        stores = [*front, *heavy, servers.postgres(plan), servers.valkey(plan), servers.s3(plan)]
        self._processes = {service.name: ManagedProcess(service, home, listeners, self.write) for service in stores}
        self._stores = list(self._processes)
        for service in (apps.indexer(plan), apps.gateway(plan)):
            self._processes[service.name] = ManagedProcess(service, home, listeners, self.write)
        for name, kind in apps.ENCRYPTION.items() if tls else ():
            if name in self._processes:
                self._processes[name].service.encryption = kind
        write_private(home / "stack.env", apps.addresses(plan, lite))

    def write(self) -> None:
        """Write the state file atomically."""
        state = {
            "phase": self._phase,
            "error": self._error,
            "supervisor": {"pid": os.getpid(), "created": psutil.Process().create_time()},
            "published": sorted(self._plan.listeners),
            "private": bool(self._plan.listeners),
            "shm_prefix": self._plan.shm_prefix,
            "tls": self._plan.tls,
            "processes": {name: process.entry() for name, process in self._processes.items()},
        }
        draft = self._home / "run" / "state.draft"
        with contextlib.suppress(FileNotFoundError):  # the folder was removed; a clean stop is still possible
            draft.write_text(json.dumps(state, indent=1))
            draft.replace(self._home / "run" / "state.json")

    async def run(self) -> None:
        """Start all processes, keep them running, and stop them on request."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.write()
        tasks = [asyncio.create_task(self._processes[name].keep()) for name in self._stores]
        if self._plan.tls:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._plan.certificates.renew)
            tasks.append(asyncio.create_task(keep_renewed(self._plan.certificates)))
        begin = asyncio.create_task(self._begin_apps(tasks))
        await stop.wait()
        self._phase = "stopping"
        self.write()
        begin.cancel()
        last_first = [process for name, process in self._processes.items() if name not in self._stores]
        await asyncio.gather(*(process.stop() for process in last_first))
        await asyncio.gather(*(self._processes[name].stop() for name in self._stores))
        for task in tasks:
            task.cancel()
        await asyncio.gather(begin, *tasks, return_exceptions=True)
        remove_shared_memory(self._plan.shm_prefix)
        self._phase = "stopped"
        self.write()

    async def _begin_apps(self, tasks: list[asyncio.Task[None]]) -> None:
        for name in self._stores:
            await self._processes[name].ready.wait()
        self._error = await self._initialise()
        if self._error:
            self._phase = "failed"
            self.write()
            return
        names = [name for name in self._processes if name not in self._stores]
        tasks += [asyncio.create_task(self._processes[name].keep()) for name in names]
        for name in names:
            await self._processes[name].ready.wait()
        self._phase = "ready"
        self.write()

    async def _initialise(self) -> str:
        """Initialize the stores, with retries; return the last error, or an empty string."""
        output = b""
        for number in range(INIT_TRIES):
            await asyncio.sleep(INIT_PAUSE_S if number else 0)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cli.main", "init"),
                env={**os.environ, "VISUALSEARCH_HOME": str(self._home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            try:
                output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            (self._home / "logs" / "init.log").write_bytes(output)
            if process.returncode == 0:
                return ""
        return output.decode(errors="replace")[-600:]


def main() -> None:
    """Supervise until stopped by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--lite", action="store_true")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # `status` shows the probe's error instead
    asyncio.run(Supervisor(options.home, lite=options.lite, tls=options.tls).run())


if __name__ == "__main__":
    main()
