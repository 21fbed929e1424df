"""No credential shows where others look: in arguments, logs, metrics, answers, the audit log or a backup's names."""

import httpx
import psutil
import pytest

from compose.state import credentials
from tests.pictures import jpeg

pytestmark = pytest.mark.stack

WRONG_KEY = f"vs_{'a' * 12}_{'b' * 64}"


@pytest.fixture(scope="module")
def secrets(running):
    found = set(credentials(running.home / "secrets.env").values())
    assert len(found) >= 6
    assert min(map(len, found)) >= 16
    return found | {WRONG_KEY}


def showing(secrets, text):
    """How many secrets a text shows; not which, so that a failure shows none either."""
    return sum(secret in text for secret in secrets)


@pytest.fixture(scope="module")
def used(api):
    """The answers of calls that succeed and that fail in many ways, with a key that nobody knows."""
    headers = {"authorization": f"Bearer {WRONG_KEY}", "x-api-key": WRONG_KEY}
    calls = [
        ("GET", "/stats", {}),
        ("GET", "/images/0", {}),
        ("GET", f"/images/{WRONG_KEY}", {}),
        ("GET", f"/nowhere?key={WRONG_KEY}", {}),
        ("POST", "/search", {"files": {"image": ("x.jpg", jpeg(1))}}),
        ("POST", "/search", {"files": {"image": ("x.jpg", b"no picture")}}),
        ("POST", "/images", {"files": {"image": ("x.jpg", jpeg(7))}}),
        ("POST", "/events/s3", {"content": b"{"}),
        ("POST", "/releases", {"json": {"model_version": 99}}),
    ]
    with httpx.Client(base_url=api.base_url, timeout=30, headers=headers) as client:
        return [client.request(method, path, **values) for method, path, values in calls]


def test_no_process_has_a_secret_among_its_arguments(running, secrets):
    """Triton takes its key no other way, but it needs one only where it is published, as the tests' stack has it."""
    ours = [process for process in psutil.process_iter() if str(running.home) in " ".join(_environment(process))]
    ours = [process for process in ours if process.name() != "tritonserver"]  # tests/integration/test_local_servers.py
    assert len(ours) >= 5
    for process in ours:
        assert not showing(secrets, " ".join(process.cmdline())), process.name()


def test_no_log_has_a_secret(running, secrets, used):
    assert used
    files = [file for file in (running.home / "logs").rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert not showing(secrets, file.read_text(errors="replace")), file.name


def test_no_answer_and_no_metric_has_a_secret(api, secrets, used):
    repeated = {WRONG_KEY}  # what a caller has put into the address itself may come back to that caller
    for answer in used:
        assert not showing(secrets - repeated, answer.text + str(answer.headers)), answer.url.path
    assert not showing(secrets, api.get("/metrics").text)


def test_no_error_of_the_command_has_a_secret(running, secrets):
    for words in (("release", "promote", "nothing"), ("images", "get", "0"), ("keys", "revoke", "nothing")):
        ran = running.command(*words)
        assert ran.returncode == 1
        assert not showing(secrets, ran.stdout + ran.stderr), words


def test_what_is_exported_and_repaired_is_in_the_audit_log_without_a_secret(running, secrets, tmp_path):
    assert running.command("backup", str(tmp_path / "backup"), "--no-objects").returncode == 0
    names = [str(file) for file in (tmp_path / "backup").rglob("*")]
    assert names
    assert not showing(secrets, " ".join(names))
    told = running.command("audit", "--json", "--since", "1h", "--action", "stores.back-up")
    assert told.returncode == 0, told.stderr
    assert str(tmp_path / "backup") in told.stdout
    assert '"outcome": "done"' in told.stdout or '"outcome":"done"' in told.stdout
    assert not showing(secrets, running.command("audit", "--json").stdout)


def _environment(process):
    try:
        return [process.environ().get("VISUALSEARCH_HOME", ""), *process.cmdline()]
    except psutil.Error:
        return []
