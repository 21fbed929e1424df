"""The Dockerfile, as far as it can be tested without a container engine."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment import DIGEST, SETTINGS, is_pinned
from tests.server_binaries import ROOT
from visualsearch.settings import Settings

LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
COPIED = [line.split()[1:] for line in LINES if line.startswith("COPY ") and "--from" not in line]


def test_it_starts_from_a_pinned_image_of_a_supported_python():
    bases = [line.split()[1] for line in LINES if line.startswith("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert DIGEST.search(bases[0])
    assert is_pinned(bases[0].replace("-slim-trixie", ""))


def test_it_installs_what_the_lock_pins_and_nothing_else():
    (install,) = [line for line in LINES if "pip install" in line]
    assert "--require-hashes --only-binary=:all: -r /app/requirements/${LOCK}.lock" in install
    assert "ARG LOCK=serving" in LINES
    assert not re.search(r"^(torch|torchvision)==", (ROOT / "requirements" / "serving.lock").read_text(), re.MULTILINE)


def test_it_runs_without_root_and_has_a_health_check():
    assert [line for line in LINES if line.startswith("USER")] == ["USER 10001:10001"]
    assert any(line.startswith("HEALTHCHECK") and "/health" in line for line in LINES)
    assert "EXPOSE 8080 8081 8082" in LINES


def test_every_setting_that_it_sets_exists():
    used = set(re.findall(r"\bVISUALSEARCH_[A-Z0-9_]+(?==)", "\n".join(LINES)))
    assert used
    assert used <= SETTINGS


def test_files_that_it_copies_exist_and_are_not_ignored():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert COPIED
    for source, _ in COPIED:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), source


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder with what the image copies, and nothing else."""
    folder = tmp_path_factory.mktemp("image")
    for source, target in COPIED:
        into = folder / target.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, into)
    return folder


def test_every_file_that_a_setting_names_by_default_is_in_it(image):
    paths = [field.default for field in Settings.model_fields.values() if isinstance(field.default, Path)]
    assert len(paths) >= 3
    for path in paths:
        assert (image / "app" / path.relative_to(ROOT)).exists(), path


def python(image, *words):
    env = {"PYTHONPATH": str(image / "app"), "PYTHONDONTWRITEBYTECODE": "1", "VISUALSEARCH_HOME": str(image / "home")}
    return subprocess.run(
        [sys.executable, *words], cwd=image / "app", env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("module", ["gateway.main", "indexer.main", "cli.main"])
def test_what_it_copies_is_enough_to_run(image, module):
    there = f"assert m.__file__.startswith({str(image)!r})"
    done = python(image, "-c", f"import {module} as m, sys; {there}; assert 'torch' not in sys.modules")
    assert not done.returncode, done.stderr


def test_a_command_that_it_cannot_serve_says_so(image):
    # An editable install puts a checkout, this one or another, on the path; an image has none.
    no_checkout = (
        "sys.path[:] = [one for one in sys.path if not (pathlib.Path(one) / 'compose' / 'runner.py').exists()]"
    )
    gone = f"import pathlib, sys; {no_checkout}; sys.argv[1:] = ['status']"
    done = python(image, "-c", f"{gone}; from cli.main import main; main()")
    assert done.returncode == 1
    assert "checkout" in done.stderr
    assert "Traceback" not in done.stderr
