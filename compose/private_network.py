"""A network of its own for one stack, from Linux namespaces, which need neither root nor containers.

Everything that a stack starts runs in a network namespace where only its own processes can connect to a port. The
sockets on which outsiders are served are opened before the namespace is entered: a listening socket stays in the
namespace that it was opened in, so a process inside serves the machine's 127.0.0.1 with it at no cost per request.

The mounts are private too. ``/tmp`` and ``/dev/shm``, where some servers leave sockets and memory that every user can
open, are empty folders that are invisible outside. Started as root, the stack gives up root for a user id of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NEW_MOUNTS, NEW_USER, NEW_NETWORK = 0x20000, 0x10000000, 0x40000000
"""Flags of unshare(2)."""
NO_SETUID, NO_DEVICES, BIND, RECURSIVE, PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
"""Flags of mount(2)."""
GET_FLAGS, SET_FLAGS, INTERFACE_UP = 0x8913, 0x8914, 0x1
"""ioctl(2) requests and a flag of network interfaces; see netdevice(7)."""
NO_NEW_PRIVILEGES = 38
"""Option of prctl(2)."""
USER_IDS = range(61184, 65520)
"""The user ids that systemd sets aside for services without an account: no person has one of these."""
USER = "visualsearch"
HIDDEN = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108 - exactly these are hidden
CHECK_S = 20.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a stack sees of the machine: ``needed`` folders stay reachable, ``home`` is the only one it may change."""

    home: Path
    needed: Sequence[Path]
    hosts: Sequence[str] = ()
    """Host names that resolve to 127.0.0.1 inside, where a relay to the real host listens."""


def why_not() -> str:
    """Return why this machine cannot give a stack a network of its own, or an empty string if it can."""
    if sys.platform != "linux":
        return "only Linux has network namespaces"
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=CHECK_S, check=False)  # noqa: S603
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def user_id(home: Path) -> int:
    """Return the user id that a stack runs as: our own, or one derived from its folder if we are root."""
    if os.geteuid() != 0:
        return os.geteuid()
    return USER_IDS[int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:4]) % len(USER_IDS)]


def enter(sandbox: Sandbox) -> None:
    """Move this process into namespaces of its own; as root, give up root.

    The process must have one thread only. Raises ``OSError`` if the kernel or a security policy forbids it.
    """
    user = user_id(sandbox.home)
    changed = user != os.geteuid()
    files = {Path("/etc/hosts"): _hosts(sandbox.hosts)} if sandbox.hosts else {}
    if changed:
        files[Path("/etc/passwd")] = f"{USER}:x:{user}:{user}::{sandbox.home}:/usr/sbin/nologin\n"
        files[Path("/etc/group")] = f"{USER}:x:{user}:\n"
        hand_over(_written(sandbox.home), user)
    _unshare()
    _hide([path.resolve() for path in (sandbox.home, *sandbox.needed)], user)
    for path, addition in files.items():
        _append(path, addition)
    give_up_root(sandbox.home)


def give_up_root(home: Path) -> None:
    """Become the user of a stack permanently, without a way to regain rights."""
    user = user_id(home)
    if user != os.geteuid():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os.environ |= {"USER": USER, "LOGNAME": USER, "HOME": str(home)}
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def join(process: int, command: Sequence[str]) -> None:
    """Replace this process by a command in the network of another process, unless it is in there already.

    Raises ``OSError`` if nsenter(1) is missing or the process belongs to another user.
    """
    here, there = (Path(f"/proc/{one}/ns") for one in ("self", process))
    if (here / "net").readlink() == (there / "net").readlink():
        return
    user = [] if (here / "user").readlink() == (there / "user").readlink() else ["--user", "--preserve-credentials"]
    words = ["nsenter", f"--target={process}", *user, "--net", "--", *command]
    os.execvp(words[0], words)  # noqa: S606 - fixed arguments


def _unshare() -> None:
    """Enter new namespaces with a working loopback interface, and as our own user unless we are root."""
    user, group = os.geteuid(), os.getegid()
    _call("unshare", NEW_MOUNTS | NEW_NETWORK | (NEW_USER if user else 0))
    if user:
        for name, text in {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}.items():
            Path("/proc/self", name).write_text(text)
    _mount("none", Path("/"), PRIVATE | RECURSIVE)
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", INTERFACE_UP)
        fcntl.ioctl(any_socket, SET_FLAGS, request)


def _hide(needed: list[Path], user: int) -> None:
    """Cover ``HIDDEN`` by empty folders, and so each folder that the user may not pass; uncover what is needed."""
    closed = [folder for path in needed for folder in _closed_ancestors(path, user)]
    covered = {path for path in (*HIDDEN, *closed) if path.is_dir()}
    below = {path for path in needed if path.is_dir() and any(path.is_relative_to(top) for top in covered)}
    handles = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in below}
    # From the top down: a needed folder may hold a closed one, which holds another needed folder.
    for path in sorted(covered | below):
        if path in covered and path.is_dir():
            mode = "1777" if path in HIDDEN else "755"
            _mount("tmpfs", path, NO_SETUID | NO_DEVICES, "tmpfs", f"mode={mode}")
        if path in below:
            path.mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{handles[path]}", path, BIND | RECURSIVE)
            os.close(handles[path])


def _closed_ancestors(path: Path, user: int) -> Iterator[Path]:
    """Yield the folders above a path that a user may not pass."""
    for folder in path.parents:
        status = folder.stat()
        if not status.st_mode & (0o100 if status.st_uid == user else 0o001):
            yield folder


def hand_over(paths: Iterable[Path], user: int) -> None:
    """Make files a user's own; as root only."""
    for path in paths:
        if path.lstat().st_uid != user:
            os.lchown(path, user, user)


def _written(home: Path) -> Iterator[Path]:
    """Return what a stack writes: all but the server binaries, which stay with root."""
    yield from (home, *(path for path in home.iterdir() if path.is_file()))
    for folder in (home / name for name in ("run", "logs", "data", "tls")):
        if folder.exists():
            yield from (folder, *folder.rglob("*"))


def _hosts(names: Sequence[str]) -> str:
    return "".join(f"127.0.0.1 {name}\n" for name in names)


def _append(path: Path, text: str) -> None:
    """Show a system file with additional lines to processes inside. The file itself does not change."""
    changed = HIDDEN[1] / path.name
    changed.write_text(text + path.read_text())
    changed.chmod(0o644)
    _mount(str(changed), path, BIND)


def _mount(source: str, target: Path, flags: int, kind: str = "none", options: str = "") -> None:
    _call(
        "mount", source.encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0 on success."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    _unshare()
