"""TLS of both ends: which files a client shows and trusts, and how certificates are renewed while connections go on.

A certificate is renewed by replacing its file. Clients and servers look at their files again and use the new ones for
new connections; open connections stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How often files are checked for changes."""
RETIRE_S = 60.0
"""How long a replaced client may finish its calls."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """PEM files of a client: the authority that it trusts, and its own certificate and key, if servers ask for one.

    The certificate and its key may be in the same file.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self, *, trust_public: bool = False) -> ssl.SSLContext:
        """Return a context of the files' present content. It trusts this authority alone, or the public ones too.

        Raises ``OSError`` if a file is missing or is not what it should be.
        """
        context = ssl.create_default_context() if trust_public else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def pem(self) -> tuple[bytes, bytes | None, bytes | None]:
        """Return the content of the authority's, the key's and the certificate's file, in gRPC's order."""
        key = self.key or self.certificate
        return (
            self.ca.read_bytes(),
            key.read_bytes() if key else None,
            self.certificate.read_bytes() if self.certificate else None,
        )

    @property
    def files(self) -> Sequence[Path]:
        """Return the files that there are."""
        return [file for file in (self.ca, self.certificate, self.key) if file]


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """PEM files of a server: its certificate and key, and the authority whose certificates clients must show, if any.

    The certificate and its key may be in the same file.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context of the files' present content.

        Raises ``OSError`` if a file is missing or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @property
    def files(self) -> Sequence[Path]:
        """Return the files that there are."""
        return [file for file in (self.certificate, self.key, self.client_ca) if file]


async def keep_current(contexts: Iterable[ssl.SSLContext], tls: ServerTLS) -> None:
    """Load a server's certificate into its contexts whenever the files change, until cancelled.

    Files that do not fit together are tried again: the second of two may not have been replaced yet.
    """
    contexts = list(contexts)
    loaded = stamp(tls.files)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = stamp(tls.files)
        if now == loaded:
            continue
        try:
            for context in contexts:
                context.load_cert_chain(tls.certificate, tls.key)
        except OSError as error:
            log.warning("the certificate in %s cannot be loaded: %s", tls.certificate, error)
        else:
            loaded = now


def stamp(files: Iterable[Path]) -> tuple[int, ...]:
    """Return when files were last replaced, in nanoseconds; 0 for a missing one."""
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


class Renewed(Generic[T]):
    """A client that is built again when its certificate was renewed. The one before may finish its calls.

    ``build`` may raise ``OSError`` while files are being replaced; then the present client stays.
    """

    def __init__(self, build: Callable[[], T], close: Callable[[T], Awaitable[None]], tls: ClientTLS | None) -> None:
        self._build, self._close = build, close
        self._files = tls.files if tls else ()
        self._stamp: tuple[int, ...] = stamp(self._files)
        self._looked = time.monotonic()
        self._current: T = build()
        self._retiring: set[asyncio.Task[None]] = set()

    def get(self) -> T:
        """Return the present client. Must be called from the event loop."""
        if self._files and time.monotonic() - self._looked > LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._renew(stamp(self._files))
        return self._current

    def _renew(self, now: tuple[int, ...]) -> None:
        if now == self._stamp:
            return
        try:
            before, self._current = self._current, self._build()
        except OSError as error:
            log.warning("the renewed certificate cannot be used: %s", error)
            return
        self._stamp = now
        task = asyncio.create_task(self._retire(before))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, client: T) -> None:
        try:
            await asyncio.sleep(RETIRE_S)
        finally:
            await self._close(client)

    async def close(self) -> None:
        """Close every client."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self._close(self._current)
