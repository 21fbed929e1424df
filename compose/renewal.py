"""Renewing a stack's certificates: in time, by its supervisor, and now, by `visualsearch certificates`."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING

from compose.certificates import LEAVES, Certificates
from compose.state import process_of, read_state
from visualsearch.domain.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

log = logging.getLogger(__name__)

DUE_EVERY_S = 3600.0
"""How often certificates are checked for whether they are due."""
RENEW_S, LOOK_EVERY_S = 10.0, 0.1


async def keep_renewed(certificates: Certificates) -> None:
    """Renew certificates when they are due, until cancelled. Whoever uses one finds the new one by itself."""
    while True:
        await asyncio.sleep(DUE_EVERY_S)
        try:
            certificates.ensure()
        except (OSError, ValueError):  # tried again in an hour; the alarm on certificates tells if it keeps failing
            log.exception("the certificates cannot be renewed")


def ends(home: Path) -> dict[str, datetime]:
    """Return when the authority and each certificate of it ends; raise ``ConfigurationError`` if there is none."""
    certificates = Certificates(home / "tls")
    if not certificates.ca.exists():
        raise ConfigurationError("This stack has no certificates; `visualsearch up --tls` makes them.")
    return {name: certificates.validity(name)[1] for name in ("ca", *(leaf.name for leaf in LEAVES))}


def renew(home: Path) -> None:
    """Let a running stack replace its certificates, and return when it has.

    The supervisor does it, since the files must belong to its user. Raises ``ConfigurationError`` if no stack with TLS
    is running, and ``Unavailable`` if its supervisor does not do it in time.
    """
    state = read_state(home)
    supervisor = process_of(state.get("supervisor"))
    if not supervisor or not state.get("tls"):
        raise ConfigurationError("No stack with TLS is running; `visualsearch up --tls` renews what is due.")
    before = _contents(home)
    supervisor.send_signal(signal.SIGHUP)
    end = time.monotonic() + RENEW_S
    while any(one == other for one, other in zip(before, _contents(home), strict=True)):
        if time.monotonic() > end:
            raise Unavailable("The supervisor", f"no new certificates within {RENEW_S:g} s; see its log")
        time.sleep(LOOK_EVERY_S)


def _contents(home: Path) -> list[bytes]:
    certificates = Certificates(home / "tls")
    return [certificates.file(leaf.name).read_bytes() for leaf in LEAVES]
