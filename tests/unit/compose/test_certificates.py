"""The certificates of a stack: whom they name, who may read them, and when they are renewed."""

import asyncio
import ipaddress
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from compose import renewal
from compose.certificates import LEAVES, LIFE, Certificates
from tests.eventually import eventually

NAMES = [leaf.name for leaf in LEAVES]


class Clock:
    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def certificates(tmp_path, clock):
    certificates = Certificates(tmp_path / "tls", clock)
    assert sorted(certificates.ensure()) == sorted(NAMES)
    return certificates


def loaded(certificates, name):
    return x509.load_pem_x509_certificate(certificates.file(name).read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_every_certificate_comes_from_the_authority_and_names_this_machine(certificates, name):
    one, authority = loaded(certificates, name), loaded(certificates, "ca")
    one.verify_directly_issued_by(authority)
    names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = load_pem_private_key(certificates.file(name).read_bytes(), None)
    assert key.public_key() == one.public_key()


def test_what_clients_show_is_no_server_certificate_and_the_reverse(certificates):
    usages = {
        name: list(loaded(certificates, name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        for name in NAMES
    }
    assert usages == {
        "servers": [ExtendedKeyUsageOID.SERVER_AUTH],
        "gateway": [ExtendedKeyUsageOID.SERVER_AUTH],
        "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    }


def test_the_authority_can_sign_certificates_but_no_further_authority(certificates):
    authority = loaded(certificates, "ca")
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert b"PRIVATE KEY" not in certificates.ca.read_bytes()


def test_only_their_owner_can_read_them(certificates):
    certificates.renew()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in certificates.folder.iterdir()}
    assert set(modes) == {"ca.pem", "ca.key", "servers.pem", "gateway.pem", "client.pem"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(certificates.folder.stat().st_mode) == 0o700


def test_they_are_renewed_when_two_thirds_of_their_life_are_over(certificates, clock):
    before = {name: certificates.file(name).read_bytes() for name in NAMES}
    clock.now += LIFE * 2 / 3 - timedelta(hours=1)
    assert certificates.ensure() == []
    clock.now += timedelta(hours=1)
    assert sorted(certificates.ensure()) == sorted(NAMES)
    for name in NAMES:
        assert certificates.file(name).read_bytes() != before[name]
        assert certificates.validity(name)[1] > clock.now + LIFE * 0.9
        loaded(certificates, name).verify_directly_issued_by(loaded(certificates, "ca"))


def test_a_missing_certificate_is_made_and_the_others_stay(certificates):
    kept = certificates.file("servers").read_bytes()
    certificates.file("client").unlink()
    assert certificates.ensure() == ["client"]
    assert certificates.file("servers").read_bytes() == kept


def test_no_certificate_outlives_its_authority(certificates, clock):
    end = certificates.validity("ca")[1]
    clock.now = end - timedelta(days=3)
    certificates.ensure()
    assert {certificates.validity(name)[1] for name in NAMES} == {end}


async def test_the_supervisor_renews_what_is_due_and_tries_again_when_it_cannot(
    certificates, clock, monkeypatch, caplog
):
    monkeypatch.setattr(renewal, "DUE_EVERY_S", 0.01)
    before = certificates.file("gateway").read_bytes()
    key = certificates.folder / "ca.key"
    away = key.rename(key.with_suffix(".away"))
    renewing = asyncio.create_task(renewal.keep_renewed(certificates))
    clock.now += LIFE * 2 / 3
    assert await eventually(lambda: "cannot be renewed" in caplog.text)
    assert certificates.file("gateway").read_bytes() == before
    away.rename(key)
    assert await eventually(lambda: certificates.file("client").read_bytes() and not certificates.is_due("client"))
    assert certificates.file("gateway").read_bytes() != before
    renewing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await renewing
