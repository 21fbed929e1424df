"""The state folder of a local stack: ports, credentials, addresses and running processes."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = (
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "VALKEY_PASSWORD",
    "POSTGRES_PASSWORD",
    "POSTGRES_ADMIN_PASSWORD",
    "TRITON_ADMIN_KEY",
    "MILVUS_PASSWORD",
    "WEBHOOK_TOKEN",
    "USER_ID_KEY",
)

LOOPBACK = "127.0.0.1"

USUAL_PORTS = {
    "gateway": 8080,
    "gateway_grpc": 8081,
    "indexer_metrics": 8082,
    "triton_http": 8000,
    "triton_grpc": 8001,
    "triton_metrics": 8002,
    "milvus": 19530,
    "milvus_metrics": 9091,
    "postgres": 5432,
    "valkey": 6379,
    "s3": 8333,
    "weed_master": 9333,
    "weed_volume": 8380,
    "weed_filer": 8888,
    "weed_metrics": 9327,
    "etcd": 20020,
    "etcd_peer": 20021,
    "root_coord": 20022,
    "proxy_internal": 20023,
    "query_coord": 20024,
    "query_node": 20025,
    "index_coord": 20026,
    "index_node": 20027,
    "data_coord": 20028,
    "data_node": 20029,
    # What the servers themselves listen on where the relay ends TLS on the usual ports.
    "triton_grpc_plain": 18001,
    "milvus_plain": 19630,
    "postgres_plain": 15432,
    "valkey_plain": 16379,
    "s3_plain": 8433,
    "weed_filer_plain": 8988,
}
WITH_GRPC = {"s3", "weed_master", "weed_volume", "weed_filer", "s3_plain", "weed_filer_plain"}
"""SeaweedFS opens a gRPC port 10,000 above each of these."""
GRPC_OFFSET = 10_000
TRIES = 2000


@dataclass(slots=True)
class Ports:
    """The ports of one stack, reserved until ``release`` or the end of the process.

    A Unix socket in the abstract namespace reserves each port. The kernel frees it when the process dies.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    _holds: list[socket.socket] = field(default_factory=list)

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    @classmethod
    def reserve(cls, remembered: Path) -> Ports:
        """Reserve the last run's ports, else the default ones, else the next free ones; save them for the next run."""
        last: dict[str, int] = json.loads(remembered.read_text()) if remembered.exists() else {}
        ports = cls()
        for name, usual in USUAL_PORTS.items():
            candidates = [last[name]] if name in last else []
            for port in [*candidates, *range(usual, usual + TRIES)]:
                if ports._take(name, port):
                    break
            else:
                raise ConfigurationError(f"No free port for {name} was found from {usual} on.")
        remembered.write_text(json.dumps(ports.numbers, indent=1))
        return ports

    def release(self) -> None:
        """Release the ports for other stacks."""
        while self._holds:
            self._holds.pop().close()

    @classmethod
    def load(cls, remembered: Path) -> Ports:
        """Return the ports that ``reserve`` has saved, without reserving them again."""
        return cls(json.loads(remembered.read_text()))

    def keep_across_exec(self) -> None:
        """Keep the reservations in the program that replaces this one."""
        for hold in self._holds:
            hold.set_inheritable(True)
            hold.detach()
        self._holds.clear()

    def _take(self, name: str, port: int) -> bool:
        wanted = [port, port + GRPC_OFFSET] if name in WITH_GRPC else [port]
        holds = []
        for number in wanted:
            hold = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            holds.append(hold)
            if not _hold(hold, number) or not _is_free(number):
                break
        else:
            self._holds += holds
            self.numbers[name] = port
            return True
        for hold in holds:
            hold.close()
        return False


def _hold(hold: socket.socket, port: int) -> bool:
    """Bind the abstract socket of a port; return False if another stack holds it. Only Linux has abstract sockets."""
    if sys.platform != "linux":
        return True
    try:
        hold.bind(f"\0visualsearch-port-{port}")
    except OSError:
        return False
    return True


def weed_sockets(port: int) -> list[Path]:
    """Find the Unix sockets that SeaweedFS creates for a port. Their folder is not configurable."""
    return list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))  # noqa: S108


def remove_shared_memory(prefix: str) -> None:
    """Remove the shared memory that a killed Triton of this stack left behind."""
    for left in Path("/dev/shm").glob(f"{prefix}*"):  # noqa: S108 - the only place for shared memory
        left.unlink(missing_ok=True)


def remove_weed_sockets(home: Path) -> None:
    """Remove the sockets that a stack's SeaweedFS left behind. They would block the ports for other users."""
    numbers: dict[str, int] = json.loads((home / "ports.json").read_text())
    # A version before may have left the file, with fewer names.
    for name in WITH_GRPC & numbers.keys():
        for left in [*weed_sockets(numbers[name]), *weed_sockets(numbers[name] + GRPC_OFFSET)]:
            if left.lstat().st_uid == os.geteuid():
                left.unlink(missing_ok=True)


def _is_free(port: int) -> bool:
    """Return whether no process listens on a port and no other user's SeaweedFS left a socket for it."""
    if any(left.lstat().st_uid != os.geteuid() for left in weed_sockets(port)):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - only tests the port, never listens
        except OSError:
            return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes. The kernel releases it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def credentials(path: Path) -> dict[str, str]:
    """Return the stack's credentials by name without prefix. Generate and save the missing ones."""
    text = path.read_text() if path.exists() else ""
    known = dict(line.removeprefix("VISUALSEARCH_").split("=", 1) for line in text.splitlines() if line)
    missing = {name: secrets.token_hex(20) for name in SECRETS if name not in known}
    if missing:
        write_private(path, text + "".join(f"VISUALSEARCH_{name}={value}\n" for name, value in missing.items()))
    return known | missing


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only."""
    draft = path.with_name(path.name + ".draft")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def read_state(home: Path) -> dict[str, Any]:
    """Return the state that the supervisor last wrote, or an empty dict."""
    path = home / "run" / "state.json"
    state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return state


def process_of(entry: dict[str, Any] | None) -> psutil.Process | None:
    """Return the running process of a state entry, or None. The pid alone may belong to another process by now."""
    if not entry or not entry.get("pid"):
        return None
    try:
        process = psutil.Process(entry["pid"])
        same = abs(process.create_time() - entry["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None
