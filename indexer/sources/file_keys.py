"""The steps of a key for the names of files and folders. Standard library only."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from typing import TYPE_CHECKING

from visualsearch.domain.object_keys import NEVER_IN_KEYS

if TYPE_CHECKING:
    from pathlib import PurePath

TAG_LENGTH = 8
TAGGED = re.compile(rf"~[0-9a-f]{{{TAG_LENGTH}}}(\.[^.]*)?$")


def key_step(name: str) -> str:
    r"""Return the step of a key for the name of a file or folder; different names get different steps.

    It is the name itself if a key can have it. Otherwise each character that a key cannot have becomes ``_``, and a
    hash of the name's bytes is added in front of the suffix: ``back\slash.jpg`` becomes ``back_slash~1f0a99b2.jpg``.
    """
    readable = "".join("_" if _never_in_keys(letter) else letter for letter in name)
    # A name that looks as if it had a tag gets one too, or it could be the step of another name.
    if readable == name and not TAGGED.search(name):
        return name
    tag = hashlib.sha256(os.fsencode(name)).hexdigest()[:TAG_LENGTH]
    stem, dot, suffix = readable.rpartition(".")
    return f"{stem}~{tag}.{suffix}" if stem and dot else f"{readable}~{tag}"


def key_below(prefix: str, path: PurePath) -> str:
    """Return the key of a relative path below a prefix."""
    return prefix + "/".join(map(key_step, path.parts))


def _never_in_keys(letter: str) -> bool:
    return letter == "\\" or unicodedata.category(letter) in NEVER_IN_KEYS
