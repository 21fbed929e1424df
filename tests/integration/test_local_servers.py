"""The local runner: parallel stacks, killed processes, and a clean stop."""

import os
import subprocess
from pathlib import Path

import orjson
import psutil
import pytest

from compose.private_network import why_not
from tests.conftest import Stack
from tests.eventually import eventually_sync

pytestmark = pytest.mark.stack
private = pytest.mark.skipif(bool(why_not()), reason="this kernel gives no network of its own")


def status(stack: Stack) -> dict:
    return orjson.loads(stack.command("status", "--json").stdout)


def ports(stack: Stack) -> set[int]:
    return set(orjson.loads((stack.home / "ports.json").read_bytes()).values())


@pytest.fixture(scope="module")
def second(running, tmp_path_factory):
    """Another stack beside the shared one."""
    stack = Stack(tmp_path_factory.mktemp("second") / "state")
    up = stack.command("up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    yield stack
    stack.command("down")


def test_two_stacks_do_not_interfere(running, second):
    assert not ports(running) & ports(second)
    assert status(second)["gateway"]["url"] != status(running)["gateway"]["url"]
    assert second.command("index", "demo/queries").returncode == 0
    assert "5 unchanged" in second.command("index", "demo/queries").stdout
    listed = orjson.loads(running.command("search", "demo/queries/tiger.jpg", "-k", "1", "--json").stdout)
    assert not any("queries/tiger" in hit["uri"] for hit in listed["results"])


def test_a_second_up_says_so(second):
    again = second.command("up", "--detach")
    assert again.returncode == 0
    assert "Already up" in again.stdout


def processes(stack: Stack) -> list[psutil.Process]:
    supervisor = psutil.Process(orjson.loads((stack.home / "run" / "state.json").read_bytes())["supervisor"]["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


def listening(process: int | str) -> dict[int, str]:
    """Ports that somebody listens on in the network of a process, with the address in hexadecimal."""
    lines = []
    for kind in ("tcp", "tcp6"):
        lines += Path(f"/proc/{process}/net/{kind}").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return {int(words[1].split(":")[1], 16): words[1].split(":")[0] for words in fields if words[3] == "0A"}


def connects(port: int) -> bool:
    """Whether another user of this machine can connect to a port. The shell does, for nobody may lack our Python."""
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*other, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
    return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


@private
def test_another_user_reaches_nothing_but_what_users_need(running, second):
    described = status(second)
    inside = listening(described["milvus"]["pid"])
    assert ports(second) & set(inside) >= {int(described["milvus"]["port"]), int(described["triton"]["port"])}
    numbers = orjson.loads((second.home / "ports.json").read_bytes())
    needed = {numbers[name] for name in ("gateway", "gateway_grpc", "s3", "postgres", "valkey")}
    assert not {port for port in inside if port not in needed | ports(running) and connects(port)}
    own = {port: address for port, address in listening("self").items() if port in ports(second)}
    assert set(own) == needed
    assert set(own.values()) == {"0100007F"}, "127.0.0.1 alone"
    assert all(connects(port) for port in needed)


@private
def test_ports_without_credentials_are_reachable_only_inside_the_stack(second):
    described = status(second)
    reach = {name: facts["reachable_from"] for name, facts in described.items()}
    assert {name for name, who in reach.items() if who == "machine"} == {"gateway", "postgres", "valkey", "s3"}
    assert set(reach.values()) == {"machine", "stack"}
    assert second.command("release", "list").returncode == 0, "a command goes on inside"


def test_no_command_line_contains_a_secret(second):
    text = (second.home / "secrets.env").read_text()
    secrets = {line.split("=", 1)[1] for line in text.splitlines()}
    words = [word for process in processes(second) for word in process.cmdline()]
    assert not [word for word in words if any(secret in word for secret in secrets)]


@private
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_started_as_root_it_runs_as_a_user_of_its_own(running, second):
    users = {process.uids().real for process in processes(second)}
    assert len(users) == 1
    assert users.isdisjoint({0, 65534})
    assert users.isdisjoint({process.uids().real for process in processes(running)})


@private
def test_its_shared_memory_and_sockets_are_hidden_from_other_users(second):
    state = orjson.loads((second.home / "run" / "state.json").read_bytes())
    triton = Path(f"/proc/{status(second)['triton']['pid']}/root")
    assert list((triton / "dev/shm").glob(f"{state['shm_prefix']}*"))
    assert not list(Path("/dev/shm").glob(f"{state['shm_prefix']}*"))
    assert list((triton / "tmp").glob("seaweedfs-*.sock"))
    numbers = orjson.loads((second.home / "ports.json").read_bytes())
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{numbers['s3']}.sock"))


def test_a_dead_model_process_of_triton_is_detected_and_restarted(second):
    triton = psutil.Process(status(second)["triton"]["pid"])
    stubs = [child for child in triton.children(recursive=True) if "stub" in child.name() or "stub" in child.exe()]
    assert stubs
    for stub in stubs:
        stub.kill()

    def cured():
        described = status(second)["triton"]
        return described["ready"] and described["pid"] != triton.pid

    eventually_sync(cured, within_s=90, every_s=1)
    assert second.command("search", "demo/queries/tiger.jpg", "-k", "1").returncode == 0


def test_all_data_is_found_again_after_everything_was_killed(second):
    second.kill()
    up = second.command("up", "--detach")
    assert up.returncode == 0, up.stdout

    def found():
        answer = second.command("search", "demo/queries/tiger.jpg", "-k", "1", "--json")
        return answer.returncode == 0 and orjson.loads(answer.stdout)["results"]

    assert "queries/tiger.jpg" in eventually_sync(found, within_s=60, every_s=1)[0]["uri"]


def test_down_leaves_no_process_and_no_shared_memory(second):
    state = orjson.loads((second.home / "run" / "state.json").read_bytes())
    family = psutil.Process(state["supervisor"]["pid"]).children(recursive=True)
    assert second.command("down").returncode == 0
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not list(Path("/dev/shm").glob(f"{state['shm_prefix']}*"))
    assert second.command("status").stdout.count("yes") == 0


def test_lite_answers_without_triton_and_milvus(tmp_path):
    pytest.importorskip("milvus_lite")
    lite = Stack(tmp_path / "lite")
    try:
        up = lite.command("up", "--lite", "--detach")
        assert up.returncode == 0, up.stdout + up.stderr
        assert "triton" not in status(lite)
        assert lite.command("index", "demo/queries").returncode == 0
        answer = lite.command("search", "demo/queries/tiger.jpg", "-k", "1", "--json")
        assert "queries/tiger.jpg" in orjson.loads(answer.stdout)["results"][0]["uri"]
    finally:
        lite.command("down")
