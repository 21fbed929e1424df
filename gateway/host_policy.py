"""Which Host and Origin a request may name, and which address an open gateway may bind. Standard library only.

Without keys, every caller that reaches the gateway acts as the operator. A web page that the operator visits can reach
it too: by a name that it points at 127.0.0.1 (DNS rebinding), or by a request across sites. The browser's headers tell.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from visualsearch.settings import Settings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"
ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
"""What a browser sends as Origin for a page that has an address, in small letters and without a path."""
PAGES = frozenset({"/", "/docs"})
"""Pages that a link on another site may open."""
PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Called by kubelet, proxies and Prometheus, by whatever address they know."""
TRUSTED_SITES = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site of a request that our own page or the user began."""


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The hosts and origins that requests may name.

    ``names`` are accepted beside those of loopback; ``*`` accepts every name. ``addresses`` accepts every IP address,
    which DNS cannot rebind. ``same_origin`` refuses requests that a browser sends for another site, which cannot hold
    a key, but needs none where there are none; ``origins`` are sites that may call nevertheless. ``probes`` exempts
    ``PROBES`` from the check of the host.
    """

    names: frozenset[str] = frozenset()
    addresses: bool = False
    same_origin: bool = True
    origins: frozenset[str] = frozenset()
    probes: bool = False

    def refusal(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return why a request is refused and what to do, or ``""``. Names of headers must be in small letters."""
        given: dict[str, str] = {}
        for key, value in headers:
            name, text = key.decode("latin-1"), value.decode("latin-1")
            # A header that comes twice matches nothing that is allowed.
            given[name] = f"{given[name]},{text}" if name in given else text
        host = given.get("host", "")
        if not (self.probes and path in PROBES) and not self._accepts(host):
            return (
                f"This gateway does not serve the host {host[:100]!r}. Use localhost, or let the operator name the "
                "host in VISUALSEARCH_ALLOWED_HOSTS."
            )
        if self.same_origin and not _is_page(method, path, given) and self._is_cross_site(given, host):
            return (
                "This gateway was started without requiring keys, so it refuses requests from other sites. Set "
                "VISUALSEARCH_REQUIRE_KEYS or VISUALSEARCH_API_KEYS, or name the site in VISUALSEARCH_CORS_ORIGINS, or "
                "its host in VISUALSEARCH_ALLOWED_HOSTS."
            )
        return ""

    def _accepts(self, host: str) -> bool:
        name = _name(host)
        return name in LOOPBACK_NAMES or self._names(name) or (self.addresses and _is_address(name))

    def _names(self, name: str) -> bool:
        return ANY in self.names or name in self.names

    def _is_cross_site(self, headers: dict[str, str], host: str) -> bool:
        origin = headers.get("origin")
        if origin in self.origins:
            return False
        if origin is not None:
            if not ORIGIN.fullmatch(origin):
                return True
            authority = urlsplit(origin).netloc
            return authority.lower() != host.lower() and _name(authority) not in self.names
        return headers.get("sec-fetch-site", "none") not in TRUSTED_SITES


def host_policy(settings: Settings, keys: bool) -> HostPolicy:
    """Return the policy for a gateway with or without keys."""
    names = frozenset(name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip())
    if keys:
        return HostPolicy(names or frozenset({ANY}), same_origin=False, probes=True)
    return HostPolicy(
        names,
        addresses=settings.allow_anonymous,
        origins=cors_origins(settings, keys),
        probes=settings.allow_anonymous,
    )


def cors_origins(settings: Settings, keys: bool) -> frozenset[str]:
    """Return the origins whose pages may call a gateway with or without keys.

    Raises ``ConfigurationError`` for a text that is no origin, and for ``*`` without keys.
    """
    origins = frozenset(origin.strip() for origin in settings.cors_origins.split(",") if origin.strip())
    for origin in origins - {ANY}:
        if not ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"VISUALSEARCH_CORS_ORIGINS names {origin!r}: an origin is a scheme and a host, as a browser sends it, "
                "such as https://shop.example or http://localhost:3000, or * for every one."
            )
    if ANY in origins and not keys:
        raise ConfigurationError(
            "VISUALSEARCH_CORS_ORIGINS is *, and no key is required: every page that somebody on this machine visits "
            "could search, upload and delete. Name the origins, or set VISUALSEARCH_REQUIRE_KEYS=1."
        )
    return origins


def check_address(settings: Settings, keys: bool) -> None:
    """Raise ``ConfigurationError`` if a gateway without keys would be reachable from other machines."""
    if keys or settings.allow_anonymous:
        return
    for host in (settings.gateway_host, *map(_bound_to, settings.gateway_sockets)):
        if not _is_loopback(host):
            raise ConfigurationError(
                f"The gateway would serve {host} and no key is configured, so everybody who reaches this address could "
                "search, upload and delete. Set VISUALSEARCH_REQUIRE_KEYS=1 and make keys with `visualsearch keys "
                "create`, or set VISUALSEARCH_API_KEYS, or VISUALSEARCH_GATEWAY_HOST=127.0.0.1. If everybody may do "
                "everything, set VISUALSEARCH_ALLOW_ANONYMOUS=1, and name the gateway's hosts in "
                "VISUALSEARCH_ALLOWED_HOSTS."
            )


def _bound_to(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        return str(listener.getsockname()[0])


def _is_page(method: str, path: str, headers: dict[str, str]) -> bool:
    return method == "GET" and path in PAGES and headers.get("sec-fetch-mode") == "navigate"


def _name(authority: str) -> str:
    """Return the host of ``host``, ``host:port`` or ``[address]:port`` in small letters; ``""`` if it is malformed."""
    try:
        parts = urlsplit(f"//{authority}")
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        return ""
    return "" if parts.netloc != authority or "@" in authority else (parts.hostname or "").removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host in LOOPBACK_NAMES or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
