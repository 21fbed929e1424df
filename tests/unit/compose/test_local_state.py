"""The state of a local stack: ports that no two stacks share, credentials generated once, and its processes."""

import os
import socket
import stat
import threading

import psutil
import pytest

from compose.state import GRPC_OFFSET, SECRETS, USUAL_PORTS, Ports, credentials, locked, process_of, remove_weed_sockets


@pytest.fixture
def reserve(tmp_path):
    """Reserve ports for a stack by its name, and let go of all at the end."""
    held = []

    def one(name: str) -> Ports:
        ports = Ports.reserve(tmp_path / f"{name}.json")
        held.append(ports)
        return ports

    yield one
    for ports in held:
        ports.release()


def test_two_stacks_have_no_port_in_common(reserve):
    first, second = reserve("first"), reserve("second")
    assert not set(first.numbers.values()) & set(second.numbers.values())


def test_every_server_has_a_port_of_its_own(reserve):
    numbers = reserve("one").numbers
    assert set(numbers) == set(USUAL_PORTS)
    assert len(set(numbers.values())) == len(numbers)


def test_a_stack_gets_its_last_ports_again(reserve):
    reserve("other")
    first = reserve("one")
    numbers = dict(first.numbers)
    first.release()
    assert reserve("one").numbers == numbers


def test_a_port_that_somebody_listens_on_is_left_alone(reserve):
    first = reserve("one")
    port = first["valkey"]
    first.release()
    with socket.create_server(("127.0.0.1", port)):
        assert reserve("one")["valkey"] != port


def test_seaweedfs_needs_the_port_ten_thousand_above_too(reserve):
    first = reserve("one")
    port = first["weed_filer"]
    first.release()
    with socket.create_server(("127.0.0.1", port + GRPC_OFFSET)):
        assert reserve("one")["weed_filer"] != port


def test_credentials_are_made_once_and_only_their_owner_reads_them(tmp_path):
    path = tmp_path / "secrets.env"
    made = credentials(path)
    assert credentials(path) == made
    assert len(set(made.values())) == len(made) == len(SECRETS)
    assert all(len(value) >= 32 for value in made.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(line.startswith("VISUALSEARCH_") for line in path.read_text().splitlines())


def test_a_credential_that_an_older_stack_lacks_is_added_to_the_others(tmp_path):
    path = tmp_path / "secrets.env"
    path.write_text("VISUALSEARCH_S3_ACCESS_KEY=kept\n")
    made = credentials(path)
    assert (len(made), made["S3_ACCESS_KEY"]) == (len(SECRETS), "kept")
    assert credentials(path) == made


def test_a_pid_that_another_program_has_by_now_is_not_ours():
    me = psutil.Process()
    assert process_of({"pid": me.pid, "created": me.create_time()}) == me
    assert process_of({"pid": me.pid, "created": me.create_time() - 100}) is None
    assert process_of({"pid": None, "created": 0.0}) is None
    assert process_of(None) is None


def test_a_process_that_ended_is_not_found():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    created = psutil.Process(pid).create_time()
    os.waitpid(pid, 0)
    assert process_of({"pid": pid, "created": created}) is None


def test_a_second_process_waits_until_the_first_releases_the_lock(tmp_path):
    order = []

    def second() -> None:
        with locked(tmp_path / "run" / "lock"):
            order.append("second")

    with locked(tmp_path / "run" / "lock"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_stack_of_a_version_with_fewer_ports_can_be_stopped(tmp_path):
    (tmp_path / "ports.json").write_text('{"s3": 8333}')
    remove_weed_sockets(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["ports.json"]
