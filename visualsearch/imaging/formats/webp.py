"""WebP."""

from __future__ import annotations

import re

from visualsearch.imaging.formats.format import Format

WEBP = Format("WEBP", "webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL))
