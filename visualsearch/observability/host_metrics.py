"""Metrics of resources that run out: disk space and certificates."""

from __future__ import annotations

import shutil
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TIMEOUT_S = 1.0
"""Timeout of connecting to a server, and of each step of the TLS handshake."""


class HostMetrics(Collector):
    """Collects at every scrape. ``folder`` lies on the monitored disk; ``addresses`` are host:port."""

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        self._folder = folder
        self._addresses = addresses

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the disk's free and total bytes, and each certificate's expiry; unreachable servers are left out."""
        disk = shutil.disk_usage(self._folder)
        yield GaugeMetricFamily("visualsearch_disk_free_bytes", "Free disk space of the state folder.", disk.free)
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
    """Return the expiry of the certificate at host:port, in seconds since 1970; None if no certificate is served."""
    place = urlsplit(f"//{address}")
    try:
        der = _served_certificate(place.hostname or "", place.port or 443)
    except OSError:  # no server or no TLS; other metrics report whether the server is up
        return None
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    except ValueError:  # OpenSSL accepts some malformed certificates that cryptography does not
        return None


def _served_certificate(host: str, port: int) -> bytes:
    """Return the certificate that a server presents, in DER. Raises ``OSError`` if it presents none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # An expired or self-signed certificate is reported too. Checking it is left to the server's clients.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    if der is None:
        raise ssl.SSLError(f"{host}:{port} presents no certificate")
    return der
