"""What a stack can see of the machine's folders once it has a network, mounts and a user of its own."""

import json
import os
import subprocess
import sys

import pytest

from compose.private_network import user_id, why_not
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(bool(why_not()), reason="this kernel gives no network of its own")

ENTER = """
import json, os, sys
from pathlib import Path
from compose.private_network import Sandbox, enter
home, *needed = map(Path, sys.argv[1:])
enter(Sandbox(home, needed))
def listed(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return type(error).__name__
print(json.dumps({"user": os.geteuid(), "ports": Path("/proc/self/net/tcp").read_text().count("\\n") - 1,
                  **{str(path): listed(path) for path in [home, *needed, *(path.parent for path in needed)]}}))
"""


def seen(home, *needed):
    words = [sys.executable, "-c", ENTER, str(home), *map(str, needed)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path):
    for name in ("run", "logs", "data"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home").chmod(0o700)
    return tmp_path / "home"


def filled(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text("content")
    return folder


def test_it_has_its_home_and_no_listening_port(home):
    found = seen(home)
    assert found[str(home)] == ["data", "logs", "run"]
    assert found["ports"] == 0
    assert found["user"] == user_id(home)


def test_what_it_needs_is_reachable_through_closed_folders_that_hold_each_other(home, tmp_path):
    project = filled(tmp_path / "closed" / "project")
    other_home = filled(project / "other-home")
    binaries = filled(other_home / "binaries")
    model = filled(other_home / "deep" / "closed" / "model")
    for folder in (tmp_path / "closed", other_home, other_home / "deep" / "closed"):
        folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(other_home, 61_000, 61_000)
    found = seen(home, project, binaries, model)
    assert found[str(project)] == ["file", "other-home"]
    assert found[str(binaries)] == ["file"]
    assert found[str(model)] == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="to its owner the folder is open")
def test_the_rest_of_a_closed_folder_stays_hidden(home, tmp_path):
    secrets = filled(tmp_path / "closed")
    project = filled(secrets / "project")
    secrets.chmod(0o700)
    assert seen(home, project)[str(secrets)] == ["project"]
