"""Publishing that is killed at any step leaves no partial version, and can be repeated."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from export.publish import card, publish
from tests.reference_pictures import MODEL
from visualsearch.adapters.triton.model_config import read_config

ROOT = MODEL.parents[3]
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from export import publish
method, nth = sys.argv[1], int(sys.argv[2])
real = getattr(Path, method)
calls = 0
def dying(self, *arguments, **options):
    global calls
    calls += 1
    if calls == nth:
        if method == "write_bytes":  # half of the file is there
            real(self, arguments[0][: len(arguments[0]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments, **options)
setattr(Path, method, dying)
model = Path(sys.argv[3]).read_bytes()
publish.publish(model, publish.card(model, "0.2.0", {}, {}), Path(sys.argv[4]), 2)
"""
STEPS = [("mkdir", 1), ("write_bytes", 1), ("write_text", 1), ("rename", 1), ("write_text", 2), ("replace", 1)]


def versions(folder):
    return list(read_config(folder / "config.pbtxt").version_policy.specific.versions)


@pytest.mark.parametrize(("method", "nth"), STEPS)
def test_a_kill_in_the_middle_leaves_only_whole_versions_and_the_next_try_succeeds(tmp_path, method, nth):
    folder = tmp_path / "image_encoder"
    folder.mkdir()
    shutil.copy(ROOT / "model_repository" / "image_encoder" / "config.pbtxt", folder)
    shutil.copytree(MODEL.parent, folder / "1")
    words = [sys.executable, "-c", KILLED_AT, method, str(nth), str(MODEL), str(tmp_path)]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -signal.SIGKILL

    assert versions(folder) == [1]
    for version in folder.glob("[0-9]*"):
        assert (version / "model.onnx").read_bytes() == MODEL.read_bytes()
        assert json.loads((version / "card.json").read_text())["fingerprint"]

    model = MODEL.read_bytes()
    assert publish(model, card(model, "0.2.0", {}, {}), tmp_path, 2) == folder / "2"
    assert versions(folder) == [1, 2]
    assert sorted(one.name for one in folder.iterdir()) == ["1", "2", "config.pbtxt"]
