"""The deployments as data: compose with its defaults filled in, and the rendered Kubernetes overlays."""

import re
import subprocess
from functools import cache

import yaml

from tests.server_binaries import ROOT, kubectl
from visualsearch.settings import Settings

COMPOSE = ROOT / "compose" / "docker-compose.yml"
OVERLAYS = ("staging", "production")
PREFIX = "VISUALSEARCH_"
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")
TAG = re.compile(r":v?\d+\.\d+[\w.-]*$")
SETTINGS = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def interpolated(text: str) -> str:
    """Fill in what compose fills in, as if there were no .env."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", text)


@cache
def compose() -> dict:
    """Return docker-compose.yml as compose itself would see it."""
    return yaml.safe_load(interpolated(COMPOSE.read_text()))


def is_pinned(image: str) -> bool:
    """Say whether an image is named by a full version, or by a digest too."""
    return bool(TAG.search(DIGEST.sub("", image)))


@cache
def rendered(overlay: str) -> list[dict]:
    """Render an overlay by kubectl's own kustomize."""
    folder = ROOT / "k8s" / "overlays" / overlay
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))
