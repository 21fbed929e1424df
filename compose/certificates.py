"""The certificates of a local stack with `up --tls`: an authority of its own, and what it signs.

Each certificate and its key are in one file, so that both are replaced at once. Whoever uses a file looks at it again
every second, so a renewal interrupts nothing. The authority itself is not renewed: its end is far away.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from compose.state import write_private
from visualsearch.tls import ClientTLS, ServerTLS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=45)
RENEW_AFTER = 2 / 3
"""Part of its life after which a certificate is renewed: 15 days before its end, a day before the alarm would ring."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""A certificate is valid from this long before it is made, because clocks differ."""
NAMES = ("localhost", "127.0.0.1")
"""What clients of a local stack call its servers."""
SERVERS, CLIENTS = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate: its file's name without suffix, and whether servers or clients show it."""

    name: str
    usage: x509.ObjectIdentifier


LEAVES = (Leaf("servers", SERVERS), Leaf("gateway", SERVERS), Leaf("client", CLIENTS))
"""Shown by the relay for all servers behind it, by the gateway, and by the clients of the servers."""


class Certificates:
    """The authority and the certificates in one folder. ``now`` returns the time, in UTC."""

    def __init__(self, folder: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder = folder
        self._now = now

    @property
    def ca(self) -> Path:
        """Return the file of the authority's certificate."""
        return self.folder / "ca.pem"

    def file(self, name: str) -> Path:
        """Return the file of a certificate and its key."""
        return self.folder / f"{name}.pem"

    @property
    def client(self) -> ClientTLS:
        """Return the files of a client of the stack's servers."""
        return ClientTLS(self.ca, self.file("client"), self.file("client"))

    def server(self, name: str) -> ServerTLS:
        """Return the files of a server that shows this certificate."""
        return ServerTLS(self.file(name), self.file(name))

    def ensure(self) -> list[str]:
        """Make what is missing, renew what is due, and return the names of the certificates that were made."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if not self.ca.exists():
            self._make_authority()
            return self.renew()
        return self.renew([leaf for leaf in LEAVES if self.is_due(leaf.name)])

    def renew(self, leaves: Sequence[Leaf] = LEAVES) -> list[str]:
        """Replace certificates now; return their names."""
        if leaves:
            authority, key = self._authority()
            for leaf in leaves:
                self._write(self.file(leaf.name), *_sign(leaf, authority, key, self._now()))
        return [leaf.name for leaf in leaves]

    def is_due(self, name: str) -> bool:
        """Return whether a certificate is missing, or two thirds of its life are over."""
        if not self.file(name).exists():
            return True
        begin, end = self.validity(name)
        return self._now() >= begin + (end - begin) * RENEW_AFTER

    def validity(self, name: str) -> tuple[datetime, datetime]:
        """Return from when until when a certificate (or ``ca``) is valid."""
        certificate = x509.load_pem_x509_certificate(self.file(name).read_bytes())
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"visual-search {self.folder.parent.name}"[:64])])
        begin = self._now() - CLOCKS_DIFFER
        certificate = (
            _builder(name, name, key.public_key(), begin, begin + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        # The key first: what is complete is told by the certificate.
        self._write(self.folder / "ca.key", b"", _pem(key))
        self._write(self.ca, certificate.public_bytes(Encoding.PEM), b"")

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.folder / 'ca.key'} holds no key of an elliptic curve")
        return x509.load_pem_x509_certificate(self.ca.read_bytes()), key

    def _write(self, path: Path, certificate: bytes, key: bytes) -> None:
        write_private(path, (certificate + key).decode())


def _sign(
    leaf: Leaf, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, now: datetime
) -> tuple[bytes, bytes]:
    """Return a new certificate and its new key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, leaf.name)])
    begin = now - CLOCKS_DIFFER
    builder = (
        _builder(name, authority.subject, key.public_key(), begin, min(begin + LIFE, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([leaf.usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(one) for one in NAMES]), critical=False)
    )
    certificate = builder.sign(authority_key, hashes.SHA256())
    return certificate.public_bytes(Encoding.PEM), _pem(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
