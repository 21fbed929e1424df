"""Certificates of clients and servers, and their renewal."""

import asyncio
import os

import pytest

from compose.certificates import Certificates
from tests.eventually import eventually
from visualsearch import tls
from visualsearch.adapters.milvus.connection import client_options
from visualsearch.adapters.triton.encoder import TritonEncoder
from visualsearch.adapters.valkey.event_stream import ValkeyEventStream
from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings
from visualsearch.tls import ClientTLS, Renewed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def certificates(tmp_path):
    certificates = Certificates(tmp_path / "tls")
    certificates.ensure()
    return certificates


class Client:
    """Remembers the certificate that it was built with, and whether it was closed."""

    def __init__(self, certificate):
        self.certificate, self.closed = certificate, False

    async def close(self):
        self.closed = True


def renewed(client_tls):
    return Renewed(lambda: Client(client_tls.pem()[2]), Client.close, client_tls)


async def test_a_client_is_built_again_when_its_certificate_was_renewed(certificates, monkeypatch):
    monkeypatch.setattr(tls, "RETIRE_S", 0.05)
    connection = renewed(certificates.client)
    first = connection.get()
    await asyncio.sleep(0.02)
    assert connection.get() is first
    certificates.renew()
    second = await eventually(lambda: (now := connection.get()) is not first and now)
    assert second.certificate == certificates.file("client").read_bytes() != first.certificate
    assert not first.closed, "it may finish its calls"
    await eventually(lambda: first.closed)
    await connection.close()
    assert second.closed


async def test_closing_closes_the_clients_before_too(certificates):
    connection = renewed(certificates.client)
    first = connection.get()
    certificates.renew()
    second = await eventually(lambda: (now := connection.get()) is not first and now)
    await asyncio.sleep(0)
    await connection.close()
    assert first.closed
    assert second.closed


async def test_the_present_client_stays_while_its_files_are_being_replaced(certificates, caplog):
    connection = renewed(certificates.client)
    first = connection.get()
    certificates.file("client").unlink()
    await asyncio.sleep(0.02)
    assert connection.get() is first
    assert "cannot be used" in caplog.text
    certificates.renew()
    assert await eventually(lambda: connection.get() is not first)
    await connection.close()


async def test_a_server_keeps_its_certificate_while_the_files_do_not_fit(certificates, tmp_path, caplog):
    server = certificates.server("servers")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file in (cert, key):
        file.write_bytes(server.certificate.read_bytes())
    separate = tls.ServerTLS(cert, key)
    loading = asyncio.create_task(tls.keep_current([separate.context()], separate))
    await asyncio.sleep(0.02)
    certificates.renew()
    cert.write_bytes(server.certificate.read_bytes())
    os.utime(cert, ns=(1, 1))
    await eventually(lambda: "cannot be loaded" in caplog.text)
    key.write_bytes(server.certificate.read_bytes())
    assert not loading.done()
    caplog.clear()
    await asyncio.sleep(0.05)
    assert not caplog.text
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading


def test_an_address_that_wants_tls_needs_an_authority():
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_TLS_CA_FILE"):
        client_options("https://milvus:19530", "root", "", 1.0, None)
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_TLS_CA_FILE"):
        TritonEncoder("grpcs://triton:8001", "image_encoder", 1.0)


async def test_valkey_with_tls_needs_an_authority():
    events = ValkeyEventStream("rediss://valkey:6379/0", "", 1.0)
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_TLS_CA_FILE"):
        await events.check()


def test_milvus_is_shown_a_certificate_if_there_is_one(certificates):
    ours = certificates.client
    mutual = client_options("https://milvus:19530", "root", "", 1.0, ours)
    assert mutual["client_pem_path"] == str(ours.certificate)
    assert mutual["ca_pem_path"] == str(ours.ca)
    one_sided = client_options("https://milvus:19530", "root", "", 1.0, ClientTLS(ours.ca))
    assert one_sided["server_pem_path"] == str(ours.ca)
    assert "secure" not in client_options("http://milvus:19530", "root", "", 1.0, ours)


def test_a_file_that_does_not_exist_is_named_when_it_is_needed(tmp_path):
    wrong = Settings(_env_file=None, tls_ca_file=tmp_path / "ca.pem", gateway_tls_cert_file=tmp_path / "cert.pem")
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_TLS_CA_FILE"):
        wrong.client_tls  # noqa: B018
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_GATEWAY_TLS_CERT_FILE"):
        wrong.gateway_tls  # noqa: B018


def test_callers_cannot_be_asked_for_a_certificate_without_tls(certificates):
    asked = Settings(_env_file=None, gateway_tls_client_ca_file=certificates.ca)
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_GATEWAY_TLS_CERT_FILE"):
        asked.gateway_tls  # noqa: B018
