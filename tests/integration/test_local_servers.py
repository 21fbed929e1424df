"""The local runner: stacks beside each other, what is killed, what is left when all is stopped."""

from pathlib import Path

import orjson
import psutil
import pytest

from tests.conftest import Stack
from tests.eventually import eventually_sync

pytestmark = pytest.mark.stack


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


def test_two_stacks_never_meet(running, second):
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


def test_nothing_but_milvus_listens_beyond_this_machine(second):
    mine = psutil.Process(orjson.loads((second.home / "run" / "state.json").read_bytes())["supervisor"]["pid"])
    exposed = set()
    for process in mine.children(recursive=True):
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and not connection.laddr.ip.removeprefix("::ffff:").startswith(
                ("127.", "::1")
            ):
                exposed.add(process.name())
    assert exposed <= {"milvus"}


def test_tritons_dead_model_process_is_noticed_and_cured(second):
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
