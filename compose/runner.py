"""Start, stop and show a local stack: the functions behind `visualsearch up | down | status | logs`."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from compose import private_network, server_binaries
from compose.launch import ON_REQUEST
from compose.process_tree import kill_tree
from compose.state import locked, process_of, read_state, remove_shared_memory, remove_weed_sockets
from visualsearch.domain.errors import ConfigurationError
from visualsearch.observability.log_format import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

UP_S = 180.0
DOWN_S = 45.0
LOOK_EVERY_S = 0.2
LINE = 500
"""Maximum characters shown of a log line. Some servers write a whole stack trace into one line."""
ADDRESSES = ("url", "uri", "dsn")
"""The label of a process's address in `status`."""
PLAIN = (
    "The relay ends TLS in front of the servers. Behind it they speak plain text, as do Triton's HTTP API, the metrics "
    "and the servers' inner ports; the stack's own network lets nobody else connect to those."
)
"""What `status` says of a stack with TLS."""
out = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Options:
    """How to start a stack."""

    lite: bool = False
    publish: Sequence[str] = ()
    """Servers that the whole machine may connect to, out of ``compose.launch.ON_REQUEST``."""
    tls: bool = False
    """Encrypt the connections to the servers and to the gateway, with certificates of the stack's own authority."""
    accept_open_servers: bool = False
    """Leave the servers in the machine's network, where every user can use those that ask for no credentials."""


def up(home: Path, options: Options, *, detach: bool) -> int:
    """Start a stack unless it is already running; return 0 when everything is ready.

    Without ``detach``, wait until interrupted and then stop the stack, if this call started it. Raises
    ``ConfigurationError`` on a platform that the servers do not support, and where the servers cannot be kept from
    others unless the options accept that.
    """
    with locked(home / "run" / "up.lock"):
        running = process_of(read_state(home).get("supervisor")) is not None
        if running:
            out.print("Already up.")
        else:
            _start(home, options)
    return _wait_until_ready(home) if detach or running else _stay(home)


def _stay(home: Path) -> int:
    """Wait for Ctrl-C, SIGTERM or the end of the stack, then stop it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = 0
    try:
        code = _wait_until_ready(home)
        if code == 0:
            out.print("Ctrl-C stops it.")
        while code == 0 and process_of(read_state(home).get("supervisor")):
            time.sleep(1)
    except KeyboardInterrupt:
        out.print("Stopping.")
    return down(home) or code


def _start(home: Path, options: Options) -> None:
    """Start a supervisor; return when it has written its state, so that `down` can find it."""
    server_binaries.check_platform(options.lite)
    words = _launch_words(options)
    if options.lite and importlib.util.find_spec("milvus_lite") is None:
        raise ConfigurationError("milvus-lite is not installed: pip install -r requirements/lite.lock, then try again.")
    server_binaries.ensure(server_binaries.folder_of(home), options.lite)
    _stop(home)  # processes that a killed supervisor left behind
    (home / "run" / "state.json").unlink(missing_ok=True)
    (home / "logs").mkdir(parents=True, exist_ok=True)
    with (home / "logs" / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(  # noqa: S603 - fixed arguments
            [sys.executable, "-m", "compose.launch", "--home", str(home), *words],
            env={**os.environ, "VISUALSEARCH_SERVER_BINARIES": str(server_binaries.folder_of(home))},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not read_state(home) and supervisor.poll() is None:
        time.sleep(LOOK_EVERY_S)


def _launch_words(options: Options) -> list[str]:
    words = ["--lite"] * options.lite
    if options.tls and options.accept_open_servers:
        raise ConfigurationError(
            "--tls needs a network of the stack's own: the servers speak plain text inside it. Leave out "
            "--accept-open-servers."
        )
    if options.accept_open_servers:
        return ["--open", *words]
    if reason := private_network.why_not():
        raise ConfigurationError(
            f"The servers cannot have a network of their own here: {reason}. Without one, every user of this machine "
            "can read and change what Triton, Milvus and SeaweedFS hold, and Milvus listens on every address. "
            "`visualsearch up --accept-open-servers` starts them nevertheless."
        )
    if unknown := set(options.publish) - set(ON_REQUEST):
        raise ConfigurationError(f"{', '.join(sorted(unknown))}: only {', '.join(ON_REQUEST)} can be published.")
    return [f"--publish={name}" for name in options.publish] + ["--tls"] * options.tls + words


def _wait_until_ready(home: Path) -> int:
    begin, told = time.monotonic(), set[str]()
    while time.monotonic() - begin < UP_S:
        state = read_state(home)
        for name, entry in state.get("processes", {}).items():
            if entry["ready"] and name not in told:
                told.add(name)
                out.print(f"  {name:9} ready after {time.monotonic() - begin:4.1f} s{_warning(entry)}")
        if state.get("phase") == "ready":
            out.print(f"All is ready: {state['processes'].get('gateway', {}).get('url', 'servers only')}")
            return 0
        if state.get("phase") in {"stopping", "stopped"}:
            out.print("It was stopped before it was ready.")
            return 1
        if state.get("phase") == "failed" or not process_of(state.get("supervisor")):
            break
        time.sleep(LOOK_EVERY_S)
    _explain(home)
    return 1


def _warning(entry: dict[str, Any]) -> str:
    """Return a warning about a server whose credentials are no barrier and that others can connect to."""
    who = {"machine": "every user of this machine", "network": "every host that reaches this machine"}
    if not entry["barrier"] and entry["reachable_from"] in who:
        return f"  [yellow]open to {who[entry['reachable_from']]}: its credentials are no barrier[/]"
    return ""


def _explain(home: Path) -> None:
    state = read_state(home)
    out.print("[bold red]The stack did not get ready.[/]", state.get("error", ""))
    for name, entry in state.get("processes", {}).items():
        if not entry["ready"]:
            out.print(f"[bold]{name}[/]: {entry['health']}; its last lines:")
            logs(home, name, 10, follow=False)
    if not state:
        logs(home, "supervisor", 10, follow=False)


def down(home: Path) -> int:
    """Stop every process of a stack, including those that a killed supervisor left behind. Keep the data."""
    with locked(home / "run" / "up.lock"):
        out.print("Stopped; the data stays." if _stop(home) else "Nothing was running.")
    return 0


def _stop(home: Path) -> bool:
    """Stop every process; return whether any was running."""
    state = read_state(home)
    supervisor = process_of(state.get("supervisor"))
    if supervisor:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(DOWN_S)
        except psutil.TimeoutExpired:
            supervisor.kill()
        state = read_state(home)
    orphans = [orphan for entry in state.get("processes", {}).values() if (orphan := process_of(entry))]
    for orphan in orphans:
        kill_tree(orphan.pid)
    psutil.wait_procs(orphans, DOWN_S)
    if state:
        remove_shared_memory(state["shm_prefix"])
        remove_weed_sockets(home)
    return bool(supervisor or orphans)


def reachable(home: Path, ports: Iterable[str]) -> bool:
    """Return whether processes outside a stack can connect to these ports of it."""
    state = read_state(home)
    return not state.get("private") or set(ports) <= set(state["published"])


def join_network(home: Path, address: str, command: Sequence[str]) -> None:
    """Go on with a command in a stack's network if one of its servers has this address and is reachable only there.

    ``command`` replaces this process. Does nothing for servers elsewhere, or if this process is inside already. Raises
    ``ConfigurationError`` if it may not enter.
    """
    state = read_state(home)
    supervisor = process_of(state.get("supervisor"))
    hidden = [entry for entry in state.get("processes", {}).values() if entry["reachable_from"] == "stack"]
    if supervisor and any(address in entry.values() for entry in hidden):
        try:
            private_network.join(supervisor.pid, command)
        except OSError as error:
            raise ConfigurationError(
                f"The network of the stack in {home} cannot be entered: {error}. Run this as the user who started it."
            ) from None


def status(home: Path) -> dict[str, Any]:
    """Describe each process: its addresses, pid, readiness, uptime in seconds, memory in MB, restarts and health."""
    described = {}
    state = read_state(home)
    supervised = process_of(state.get("supervisor")) is not None
    for name, entry in state.get("processes", {}).items():
        process = process_of(entry)
        facts = {key: value for key, value in entry.items() if key not in {"created", "barrier", "forks"}}
        facts.setdefault("encryption", "none")  # a supervisor of an earlier version
        facts |= {"pid": process.pid if process else None, "ready": bool(entry["ready"] and process)}
        facts |= {"port": _port(facts), "uptime_s": 0.0, "memory_mb": 0.0, "supervised": supervised}
        if process:
            facts["uptime_s"] = round(time.time() - process.create_time(), 1)
            if entry.get("forks"):
                facts["pids"] = [process.pid, *(child.pid for child in process.children())]
            facts["memory_mb"] = round(_memory(process) / 1e6, 1)
        described[name] = facts
    return described


def _port(facts: dict[str, Any]) -> int | None:
    address = next((facts[key] for key in ADDRESSES if key in facts), "")
    return urlsplit(address).port


def _memory(process: psutil.Process) -> int:
    """Return the bytes of a process and its children. Shared pages are divided among them where the OS reports it."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            memory = member.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has just ended, or belongs to another user: the sum is of what can be read
        total += getattr(memory, "pss", memory.rss)
    return total


def print_status(home: Path) -> None:
    """Print the status as a table."""
    described = status(home)
    if not described:
        out.print("Nothing is running. `visualsearch up` starts it.")
        return
    encrypted = any(facts["encryption"] != "none" for facts in described.values())
    table = Table()
    headings = ["process", "ready", "pid", "address", "reachable from", "uptime", "memory", "restarts", "health"]
    for heading in headings + ["encryption"] * encrypted:
        table.add_column(heading, overflow="fold")
    for name, facts in described.items():
        address = next((str(facts[key]) for key in ADDRESSES if key in facts), "").partition("?")[0]
        ready = "[green]yes[/]" if facts["ready"] else "[red]no[/]"
        numbers = (f"{facts['uptime_s']:.0f} s", f"{facts['memory_mb']:.0f} MB", str(facts["restarts"]))
        reach = facts["reachable_from"]
        words = [facts["health"]] + [facts["encryption"]] * encrypted
        table.add_row(name, ready, str(facts["pid"] or "-"), address, reach, *numbers, *words)
    out.print(table)
    if encrypted:
        out.print(PLAIN)


def logs(home: Path, name: str | None, lines: int, follow: bool) -> None:
    """Print the last lines of one log or of all. With ``follow``, print new lines until interrupted."""
    files = sorted((home / "logs").glob(f"{name or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in (home / "logs").glob("*.log"))) or "none yet"
        out.print(f"There is no log of {name or 'anything'}; there are: {known}.")
    for file in files:
        with file.open(errors="replace") as log:
            for line in deque(log, maxlen=lines):
                _print_line(file.stem, line)
    if follow:
        _follow(files)


def _follow(files: list[Path]) -> None:
    opened = {file.stem: file.open(errors="replace") for file in files}
    for log in opened.values():
        log.seek(0, os.SEEK_END)
    while True:
        for name, log in opened.items():
            for line in log:
                _print_line(name, line)
        time.sleep(LOOK_EVERY_S)


def _print_line(name: str, line: str) -> None:
    for part in readable(line.rstrip()).splitlines() or [""]:
        sys.stdout.write(f"{name:10}| {part[:LINE]}\n")
