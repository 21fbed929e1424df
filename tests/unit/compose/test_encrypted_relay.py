"""The relay ends TLS: it lets in whom the stack's authority knows, refuses others, and takes renewed certificates."""

import asyncio
import contextlib
import ssl

import psycopg
import pytest

from compose.certificates import Certificates
from compose.relay import GSS_REQUEST, POSTGRES, S3, SSL_REQUEST, VALKEY
from tests.eventually import eventually
from tests.unit.compose.relays import relays
from visualsearch.tls import ClientTLS

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("visualsearch.tls.LOOK_EVERY_S", 0.01)


@pytest.fixture
def certificates(tmp_path):
    certificates = Certificates(tmp_path / "tls")
    certificates.ensure()
    return certificates


@pytest.fixture
async def relayed(certificates):
    """Serve a handler behind a relay that ends TLS; returns the relay's port."""
    async with relays(certificates) as relayed:
        yield relayed


async def upper(reader, writer):
    while data := await reader.read(1000):
        writer.write(data.upper())
    writer.close()


async def answer(port, context, preamble=b""):
    """Return what the server behind answers, and the serial number of the certificate that was shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=None if preamble else context)
    try:
        if preamble:
            writer.write(preamble)
            assert await reader.readexactly(1) == b"S"
            await writer.start_tls(context, server_hostname="127.0.0.1")
        writer.write(b"question")
        said = await asyncio.wait_for(reader.read(100), 5)
        return said, writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.close()


async def refused(port, context, preamble=b""):
    """Whether a client gets no answer."""
    try:
        said, _ = await answer(port, context, preamble)
    except OSError:
        return True
    return said == b""


KINDS = [(VALKEY, b""), (POSTGRES, SSL_REQUEST)]


@pytest.mark.parametrize(("protocol", "preamble"), KINDS)
async def test_a_client_of_the_same_authority_is_answered(relayed, certificates, protocol, preamble):
    said, _ = await answer(await relayed(upper, protocol), certificates.client.context(), preamble)
    assert said == b"QUESTION"


@pytest.mark.parametrize(("protocol", "preamble"), KINDS)
async def test_a_client_without_a_certificate_or_of_another_authority_is_refused(
    relayed, certificates, tmp_path, protocol, preamble
):
    port = await relayed(upper, protocol)
    other = Certificates(tmp_path / "other")
    other.ensure()
    assert await refused(port, ClientTLS(certificates.ca).context(), preamble)
    stranger = ClientTLS(certificates.ca, other.file("client")).context()
    assert await refused(port, stranger, preamble)
    server = ClientTLS(certificates.ca, certificates.file("servers")).context()
    assert await refused(port, server, preamble), "a server's certificate is none of a client"
    with pytest.raises(ssl.SSLCertVerificationError):
        await answer(port, other.client.context(), preamble)


async def test_plain_text_is_refused(relayed):
    port = await relayed(upper, VALKEY)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PING\r\n" * 10)
    with contextlib.suppress(ConnectionError):
        assert b"PING" not in await asyncio.wait_for(reader.read(100), 5)
    writer.close()


async def test_a_postgres_client_without_tls_learns_what_to_do(relayed):
    port = await relayed(upper, POSTGRES)
    with pytest.raises(psycopg.OperationalError, match="sslmode=verify-full"):
        await psycopg.AsyncConnection.connect(f"postgresql://me@127.0.0.1:{port}/db?sslmode=disable&gssencmode=disable")


async def test_a_postgres_client_may_ask_for_kerberos_first(relayed, certificates):
    port = await relayed(upper, POSTGRES)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GSS_REQUEST)
    assert await reader.readexactly(1) == b"N"
    writer.write(SSL_REQUEST)
    assert await reader.readexactly(1) == b"S"
    await writer.start_tls(certificates.client.context(), server_hostname="127.0.0.1")
    writer.write(b"question")
    assert await reader.read(100) == b"QUESTION"
    writer.close()


async def test_nothing_can_be_put_in_front_of_what_is_encrypted(relayed):
    port = await relayed(upper, POSTGRES)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(SSL_REQUEST + b"injected")
    with contextlib.suppress(ConnectionError):
        assert b"INJECTED" not in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_the_object_store_needs_no_client_certificate(relayed, certificates):
    said, _ = await answer(await relayed(upper, S3), ClientTLS(certificates.ca).context())
    assert said == b"QUESTION"


async def test_a_renewed_certificate_is_shown_while_open_connections_go_on(relayed, certificates):
    port = await relayed(upper, VALKEY)
    context = certificates.client.context()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    _, before = await answer(port, context)
    certificates.renew()

    async def renewed():
        said, serial = await answer(port, certificates.client.context())
        assert said == b"QUESTION"
        return serial != before

    assert await eventually(renewed)
    writer.write(b"still here")
    assert await reader.read(100) == b"STILL HERE"
    writer.close()


@pytest.mark.parametrize("size", [10_000, 6_000_000])
async def test_a_slow_reader_gets_everything_although_the_server_has_ended(relayed, certificates, size):
    sent = bytes(range(250)) * (size // 250)

    async def serve(_reader, writer):
        writer.write(sent)
        await writer.drain()
        writer.close()

    port = await relayed(serve, VALKEY)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client.context(), limit=1024)
    received = b""
    await asyncio.sleep(0.3)
    while part := await asyncio.wait_for(reader.read(65_536), 10):
        received += part
    writer.close()
    assert received == sent
