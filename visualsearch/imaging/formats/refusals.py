"""The words for files that are not accepted because of what they are."""

from __future__ import annotations

from visualsearch.domain.errors import UnsupportedImage


def unsupported(what: str, remedy: str = "") -> UnsupportedImage:
    """Return the error for a file that is ``what``, such as "a PDF document"."""
    return UnsupportedImage(
        f"The file is {what} by its content, which is not accepted; {remedy}convert it to JPEG, PNG or WebP."
    )
