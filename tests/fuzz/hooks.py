"""Hooks for schemathesis: valid and invalid pictures, and short timeouts."""

import re

import schemathesis
from hypothesis import strategies as st

from gateway.api.images import MAX_WAIT_S
from tests.pictures import jpeg

PICTURES = st.sampled_from([jpeg(1), jpeg(2, 64, 48), jpeg(3, 16, 16), jpeg(4)[:-200], jpeg(5, 15, 15), b"GIF89a", b""])
LONGEST_WAIT_S = 0.2
NUMBER = re.compile(r"\d+(\.\d+)?")

for kind in ("image/jpeg", "image/png", "image/webp"):
    schemathesis.openapi.media_type(kind, PICTURES)


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Shorten a wait that the gateway would accept."""
    wait_s = str((case.query or {}).get("wait_s"))
    if NUMBER.fullmatch(wait_s) and LONGEST_WAIT_S < float(wait_s) <= MAX_WAIT_S:
        case.query["wait_s"] = LONGEST_WAIT_S
