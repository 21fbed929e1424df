"""The errors that the project raises on purpose. Only the HTTP and gRPC edges turn them into status codes."""

from __future__ import annotations


class VisualSearchError(Exception):
    """Base of all errors of this project. Its text is a sentence that tells the reader what to do."""


class InvalidInput(VisualSearchError):
    """The caller's input cannot be used as it is."""


class UnsupportedImage(InvalidInput):
    """The bytes are not a picture of a format that is accepted."""


class BrokenImage(InvalidInput):
    """The picture is of a supported type, but damaged, animated or too small."""


class ImageTooLarge(InvalidInput):
    """The file has too many bytes, or the picture too many pixels."""


class RequestTooLarge(InvalidInput):
    """The body of the request has too many bytes."""


class MalwareFound(InvalidInput):
    """A virus scanner found something in the file; ``what`` is the scanner's name for it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The virus scanner found {what} in the file. Find out where it comes from.")
        self.what = what


class InvalidBox(InvalidInput):
    """The box is malformed, empty or not inside the picture."""


class QuotaExceeded(InvalidInput):
    """The owner stores as many pictures or bytes as it may."""


class NotFound(VisualSearchError):
    """Nothing has that id, name or key."""


class Conflict(VisualSearchError):
    """The request conflicts with the current state, which another caller may have changed."""


class Unauthenticated(VisualSearchError):
    """The call needs a valid API key."""


class Forbidden(VisualSearchError):
    """The API key is valid, but does not permit this."""


class RateLimited(VisualSearchError):
    """The caller exceeds its request rate."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(VisualSearchError):
    """The server has more work than it can finish in time, and rejects the excess at once."""


class Unavailable(VisualSearchError):
    """A server that the call depends on does not answer."""

    def __init__(self, server: str, detail: str = "") -> None:
        super().__init__(f"{server} does not answer" + (f": {detail}" if detail else "") + ". Try again shortly.")
        self.server = server


class FingerprintMismatch(VisualSearchError):
    """The query vector and the collection come from different encoders and must not be compared."""


class Unsupported(VisualSearchError):
    """The installation is not set up for this. The text says what is missing."""


class ConfigurationError(VisualSearchError):
    """A setting, a file of the installation or the platform is unsuitable. The text says which, and how to fix it."""
