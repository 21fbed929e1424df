"""Metrics of resources that run out: disk space and certificates."""

from __future__ import annotations

import shutil
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TIMEOUT_S = 1.0
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME. An expired certificate is reported, so it must not fail the handshake."""


class HostMetrics(Collector):
    """Collects at every scrape. ``folder`` lies on the monitored disk; ``addresses`` are host:port."""

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        self._folder = folder
        self._addresses = addresses

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the disk's free and total bytes, and each certificate's expiry; unreachable servers are left out."""
        disk = shutil.disk_usage(self._folder)
        yield GaugeMetricFamily("visualsearch_disk_free_bytes", "Room on the disk of the state folder.", disk.free)
        yield GaugeMetricFamily("visualsearch_disk_size_bytes", "Size of the disk of the state folder.", disk.total)
        name, text = (
            "visualsearch_certificate_expiry_timestamp_seconds",
            "When the certificate that a server shows ends.",
        )
        ends = GaugeMetricFamily(name, text, labels=["address"])
        for address in self._addresses:
            end = expiry(address)
            if end is not None:
                ends.add_metric([address], end)
        yield ends


def expiry(address: str) -> float | None:
    """Return the expiry of the certificate at host:port, in seconds since 1970; None if no certificate is served.

    Connects twice: once to fetch the certificate, and once with it as the only authority, because Python parses only
    trusted certificates. Checking the server's name and issuer is left to its clients.
    """
    place = urlsplit(f"//{address}")
    host, port = place.hostname or "", place.port or 443
    try:
        pem = ssl.get_server_certificate((host, port), timeout=TIMEOUT_S)
        context = ssl.create_default_context(cadata=pem)
        context.check_hostname = False
        context.verify_flags = ssl.VerifyFlags(NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN)
        with (
            socket.create_connection((host, port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            end = (secured.getpeercert() or {})["notAfter"]
    except OSError:  # no server or no TLS; other metrics report whether the server is up
        return None
    return float(ssl.cert_time_to_seconds(str(end)))
