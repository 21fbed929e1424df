"""Start a stack's supervisor in a network of its own: `python -m compose.launch --home FOLDER`.

Only the sockets opened here are reachable from outside. What listens on them inside: the gateway itself for HTTP, a
relay for the rest. A second relay, left outside, leads to the few outside servers that the settings name.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from compose import private_network
from compose.private_network import Sandbox
from compose.relay import Route, forward
from compose.server_binaries import folder_of
from compose.state import GRPC_OFFSET, LOOPBACK, Ports, credentials
from visualsearch.settings import ROOT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

USUAL = ("gateway", "gateway_grpc", "s3", "postgres", "valkey")
"""The ports that users need. All but the gateway ask for generated credentials; the gateway has its own rules."""
FILER_CHANGES = "weed_filer_changes"
"""The port of the filer's log of changes."""
ON_REQUEST = {
    "triton": ("triton_http", "triton_grpc"),
    "milvus": ("milvus",),
    "seaweedfs": ("weed_filer", FILER_CHANGES),
    "metrics": ("triton_metrics", "milvus_metrics", "weed_metrics", "indexer_metrics"),
}
"""What `up --publish` can open, with its ports."""
INSIDE = "_inside"
"""Suffix of the sockets for the stack's own processes. The kernel has a port of each number in each network."""
GATEWAY_INSIDE = f"gateway{INSIDE}"
ENCRYPTED_INSIDE = ("triton_grpc", "milvus", "postgres", "valkey", "s3", FILER_CHANGES)
"""The ports that the stack's own processes use by TLS too, where TLS is used."""
LISTENERS = "VISUALSEARCH_LISTENERS"
"""Environment variable: the open sockets of the published ports, as JSON: port name to file descriptor."""
BACKLOG = 512


def published_ports(ports: Ports, names: Iterable[str]) -> dict[str, int]:
    """Return the ports to open by name: the usual ones, and those of ``names`` in ``ON_REQUEST``."""
    known = _known(ports)
    return {port: known[port] for port in (*USUAL, *(port for name in names for port in ON_REQUEST[name]))}


def _known(ports: Ports) -> dict[str, int]:
    return ports.numbers | {FILER_CHANGES: ports["weed_filer"] + GRPC_OFFSET}


def main() -> None:
    """Open the published ports, enter the network, and become the supervisor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--publish", action="append", default=[], choices=sorted(ON_REQUEST))
    parser.add_argument("--open", action="store_true", help="stay in the machine's network")
    parser.add_argument("--tls", action="store_true", help="encrypt the connections to the servers")
    options, rest = parser.parse_known_args()
    home: Path = options.home
    for folder in ("run", "logs", "data"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    credentials(home / "secrets.env")
    ports = Ports.reserve(home / "ports.json")
    ports.keep_across_exec()
    if not options.open:
        _enter(home, ports, options.publish, ENCRYPTED_INSIDE if options.tls else ())
    if options.tls:
        rest = ["--tls", *rest]
    words = [sys.executable, "-m", "compose.supervisor", "--home", str(home), *rest]
    os.execv(sys.executable, words)  # noqa: S606 - fixed arguments


def _enter(home: Path, ports: Ports, publish: list[str], inside: Iterable[str]) -> None:
    listeners = {name: _listen(port) for name, port in published_ports(ports, publish).items()}
    outside = _outside_servers(Settings.load())
    channel = _relay_outside(home, outside) if outside else None
    binaries = folder_of(home)
    models = Path(os.environ.get("VISUALSEARCH_MODEL_REPOSITORY") or ROOT / "model_repository")
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix), binaries, models]
    private_network.enter(Sandbox(home, needed, [host for host, _ in outside if not _is_loopback(host)]))
    listeners |= {f"{name}{INSIDE}": _listen(_known(ports)[name]) for name in ("gateway", *inside)}
    for listener in listeners.values():
        listener.set_inheritable(True)
    os.environ[LISTENERS] = json.dumps({name: listener.detach() for name, listener in listeners.items()})
    if channel:
        inner = [_listen(port) for _, port in outside]
        socket.send_fds(channel, [b"sockets"], [one.fileno() for one in inner])
        # The relay stops when the supervisor's end of the channel closes.
        channel.set_inheritable(True)
        channel.detach()


def _listen(port: int) -> socket.socket:
    return socket.create_server((LOOPBACK, port), backlog=BACKLOG)


def _outside_servers(settings: Settings) -> list[tuple[str, int]]:
    """Return host and port of each server outside the stack that its processes may call."""
    address = urlsplit(settings.otlp_endpoint)
    if not address.hostname:
        return []
    return [(address.hostname, address.port or (443 if address.scheme == "https" else 80))]


def _is_loopback(host: str) -> bool:
    return host in {LOOPBACK, "localhost"}


def _relay_outside(home: Path, outside: list[tuple[str, int]]) -> socket.socket:
    """Fork a process that stays outside and forwards connections from inside; return the channel to it."""
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    private_network.give_up_root(home)
    _, handles, _, _ = socket.recv_fds(theirs, 16, len(outside))
    if not handles:  # the stack did not start
        os._exit(1)
    routes = [Route(socket.socket(fileno=one), *where) for one, where in zip(handles, outside, strict=True)]

    async def until_closed() -> None:
        relay = asyncio.create_task(forward(routes))
        theirs.setblocking(False)
        await asyncio.get_running_loop().sock_recv(theirs, 1)
        relay.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await relay

    asyncio.run(until_closed())
    os._exit(0)


if __name__ == "__main__":
    main()
