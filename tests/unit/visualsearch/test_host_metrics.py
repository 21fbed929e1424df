"""Metrics of resources that run out: certificates and disk space."""

import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from tests.conftest import missing
from visualsearch.observability.host_metrics import TIMEOUT_S, HostMetrics, expiry

AUTHORITY = """
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[req]
distinguished_name = any
"""


@pytest.fixture(params=[30, -1], ids=["valid", "expired"])
def shown(request, tmp_path):
    """A server that shows a certificate which ends in so many days; its address, and that end."""
    if not shutil.which("openssl"):
        missing("openssl")
    (tmp_path / "ca.conf").write_text(AUTHORITY)
    (tmp_path / "index.txt").touch()
    end = time.time() + request.param * 86400
    until = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end))
    ask = "req -new -config ca.conf -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=somewhere"
    sign = "ca -batch -selfsign -config ca.conf -in request.pem -keyfile key.pem -out certificate.pem -notext"
    for words in (ask, f"{sign} -startdate 20240101000000Z -enddate {until}"):
        subprocess.run(["openssl", *words.split()], cwd=tmp_path, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=serve, args=(context, plain), daemon=True).start()
        yield f"127.0.0.1:{plain.getsockname()[1]}", end


def serve(context, plain):
    """Serve one connection; a second would never be answered."""
    connection, _ = plain.accept()
    with connection, context.wrap_socket(connection, server_side=True) as secured:
        secured.recv(1)


def test_the_expiry_of_a_certificate_of_an_unknown_authority_is_exported(shown):
    address, end = shown
    assert expiry(address) == pytest.approx(end, abs=60)


def test_an_unreachable_server_has_no_certificate_expiry(unused_tcp_port):
    assert expiry(f"127.0.0.1:{unused_tcp_port}") is None


def test_a_server_that_does_not_speak_tls_shows_no_certificate():
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def greet():
            connection, _ = plain.accept()
            with connection:
                connection.sendall(b"220 ready\r\n")
                connection.recv(4096)

        threading.Thread(target=greet, daemon=True).start()
        assert expiry(f"127.0.0.1:{plain.getsockname()[1]}") is None


def test_a_server_that_never_answers_delays_a_scrape_by_its_timeout_only():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert expiry(f"127.0.0.1:{silent.getsockname()[1]}") is None
    assert TIMEOUT_S <= time.monotonic() - begun < 2 * TIMEOUT_S


def test_the_free_disk_space_is_exported(tmp_path):
    values = {
        family.name: [sample.value for sample in family.samples] for family in HostMetrics(tmp_path, ()).collect()
    }
    (free,), (size,) = values["visualsearch_disk_free_bytes"], values["visualsearch_disk_size_bytes"]
    assert 0 < free <= size
