"""The threat model names existing tests for every boundary."""

import re

from tests.server_binaries import ROOT

_, *SECTIONS = re.split(r"^## ", (ROOT / "docs" / "threat-model.md").read_text(), flags=re.MULTILINE)


def test_every_boundary_has_tests_that_exist_and_says_what_is_left():
    assert len(SECTIONS) == 10
    for section in SECTIONS:
        _, _, shown = section.partition("*Tests:*")
        tests, _, left = shown.partition("*Left:*")
        named = re.findall(r"`([\w/]+(?:\.py|/))`", tests)
        assert named, section
        assert left.strip(), section
        for name in named:
            assert (ROOT / "tests" / name).exists(), name
