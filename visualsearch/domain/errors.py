"""Every error that the project raises on purpose. Only the HTTP and gRPC edges turn them into status codes."""

from __future__ import annotations


class VisualSearchError(Exception):
    """Base of all errors of this project; its text is a sentence that tells the reader what to do."""


class InvalidInput(VisualSearchError):
    """The caller's input cannot be used as it is."""


class UnsupportedImage(InvalidInput):
    """The bytes are not a JPEG, PNG or WebP picture."""


class BrokenImage(InvalidInput):
    """The picture is of a supported type, but damaged, animated or too small."""


class ImageTooLarge(InvalidInput):
    """The file has too many bytes, or the picture too many pixels."""


class InvalidBox(InvalidInput):
    """The box is malformed, empty or not inside the picture."""


class NotFound(VisualSearchError):
    """Nothing has that id, name or key."""


class Conflict(VisualSearchError):
    """What is asked for does not fit how things stand now; somebody else may have changed them."""


class Unauthenticated(VisualSearchError):
    """The call needs an API key that is known."""


class Forbidden(VisualSearchError):
    """The API key is known, but may not do this."""


class RateLimited(VisualSearchError):
    """The caller asks more often than it may."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(VisualSearchError):
    """There is more work than can be done in time; the excess is refused at once."""


class Unavailable(VisualSearchError):
    """A server that the call depends on does not answer."""

    def __init__(self, server: str, detail: str = "") -> None:
        super().__init__(f"{server} does not answer" + (f": {detail}" if detail else "") + ". Try again shortly.")
        self.server = server


class FingerprintMismatch(VisualSearchError):
    """A query vector and a collection come from different encoders and must not be compared."""


class Unsupported(VisualSearchError):
    """The installation cannot do this as it is set up; the text says what it lacks."""


class ConfigurationError(VisualSearchError):
    """A setting, a file of the installation or the platform does not fit; the text says which and how to mend it."""
