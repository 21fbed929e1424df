"""Which keys of the bucket may hold a picture of the corpus, and what a bucket may be called. Standard library only.

Every key from outside passes here: notices, the change log, `visualsearch index`, the sweep, reconciliation and events.
"""

from __future__ import annotations

import re
import unicodedata

from visualsearch.domain.errors import InvalidInput

MAX_KEY_BYTES = 1024
"""S3's limit of a key."""
UPLOADS = "uploads/"
"""Prefix of the objects that the gateway stores. Only their row or their metadata says who may see them."""
QUERIES = "queries/"
"""Prefix of the query images, which no search may ever find."""
RESERVED_PREFIXES = (QUERIES, ".")
"""Key prefixes of objects that are not part of the corpus: query images, health probes, parts of unfinished uploads."""
NEVER_IN_KEYS = {"Cc", "Cs"}
"""Unicode's control characters and lone surrogates."""

BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""S3's rule for a bucket's name."""


def bucket_name(name: str) -> str:
    """Return the name of a bucket; raise ``InvalidInput`` if a store or client could take it for that of another one.

    SeaweedFS reads a backslash as a slash, and clients end the name at ``?``, ``#`` or ``%2F``.
    """
    if not BUCKET_NAME.fullmatch(name):
        raise InvalidInput(
            f"{name[:80]!r} is no bucket's name: it has 3 to 63 lower-case letters, digits, dots and hyphens."
        )
    return name


def canonical_key(key: str) -> str:
    """Return the key; raise ``InvalidInput`` if a store or client could take it for the name of another object."""
    # SeaweedFS reads a backslash as a slash, so the key with backslashes would be a second name of an object.
    steps = {"", ".", ".."}.intersection(key.split("/"))
    if steps or "\\" in key or any(unicodedata.category(letter) in NEVER_IN_KEYS for letter in key):
        raise InvalidInput(
            f"{key!r} is no name for an object: rename it without empty steps, backslashes or control characters."
        )
    return key


def is_reserved(key: str) -> bool:
    """Return whether a key, in any spelling, lies where no picture of the corpus lies."""
    return _folded(key).startswith(RESERVED_PREFIXES)


def is_query(key: str) -> bool:
    """Return whether a key, in any spelling, is one of a query image, also in another corpus' bucket."""
    return _folded(key).startswith(QUERIES)


def is_folder(key: str) -> bool:
    """Return whether a key is that of a folder: consoles and mounted buckets store empty objects in their name."""
    return key.endswith("/")


def is_upload(key: str) -> bool:
    """Return whether a key, in any spelling, is one of an upload by the gateway."""
    return _folded(key).startswith(UPLOADS)


def corpus_key(key: str, *, uploads: bool) -> str:
    """Return the key of an object that may be a picture of the corpus; raise ``InvalidInput`` for any other.

    ``uploads`` says whether the objects that the gateway stores are meant too. Callers that take keys from strangers
    or that would store an object must leave them out.
    """
    if len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        raise InvalidInput(f"The key has more than {MAX_KEY_BYTES} bytes: give it a shorter name.")
    if is_reserved(key):
        raise InvalidInput(f"The key {key[:80]!r} is reserved: pictures lie elsewhere.")
    if is_upload(key) and not (uploads and key.startswith(UPLOADS)):
        raise InvalidInput(f"The key {key[:80]!r} is reserved for uploads: POST /images stores and announces them.")
    return canonical_key(key)


def _folded(key: str) -> str:
    """Return the key as the most lenient store could read it: any slash, any case, no empty or single-dot steps."""
    steps = [step.strip() for step in key.replace("\\", "/").casefold().split("/")]
    while steps and steps[0] in {"", "."}:
        steps.pop(0)
    return "/".join(steps)
