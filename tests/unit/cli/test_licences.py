"""Every dependency has a licence compatible with ours, and the page lists it."""

import re

import pytest

from cli.licences import FILE, HEAD, LOCKS, is_compatible, licences
from tests.server_binaries import ROOT

LISTED = ("serving", "lite", "dev")
HINT = "run `python -m cli.licences`"


@pytest.mark.parametrize("lock", LISTED)
def test_no_package_has_an_unknown_or_an_incompatible_licence(lock):
    found = licences(LOCKS / f"{lock}.lock")
    assert len(found) > 50
    assert {name: licence for name, licence in found.items() if not is_compatible(licence)} == {}


@pytest.mark.torch
def test_no_package_of_training_has_an_unknown_or_an_incompatible_licence():
    found = licences(LOCKS / "train.lock")
    assert found
    assert {name: licence for name, licence in found.items() if not is_compatible(licence)} == {}


@pytest.mark.parametrize("licence", ["unknown", "", "GPL-3.0-only", "MIT AND AGPL-3.0-only", "SSPL-1.0"])
def test_copyleft_and_unknown_licences_are_found(licence):
    assert not is_compatible(licence)


def test_the_page_lists_exactly_what_is_installed():
    listed = set(re.findall(r"^\| ([\w.-]+) \| .+ \|$", FILE.read_text().removeprefix(HEAD), re.MULTILINE)) - {
        "package"
    }
    pinned = set(
        re.findall(r"^([\w.-]+)==", "".join((LOCKS / f"{one}.lock").read_text() for one in LISTED), re.MULTILINE)
    )
    installed = {name for lock in LISTED for name in licences(LOCKS / f"{lock}.lock")}
    assert FILE.read_text().startswith(HEAD), HINT
    # Other platforms and Pythons install a few packages more, or fewer.
    assert installed <= listed <= pinned, HINT


def test_every_server_binary_and_vendored_library_is_listed():
    wheels = re.findall(r"^([\w-]+)==", (ROOT / "compose" / "server_binaries.lock").read_text(), re.MULTILINE)
    vendored = [folder.name for folder in (ROOT / "gateway" / "web" / "vendor").iterdir()]
    assert wheels
    for name in (*wheels, *vendored):
        assert re.search(rf"[|/`]\s*{name}\b", HEAD), name
