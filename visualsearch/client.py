"""A small client of the gateway's REST API, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from visualsearch.domain.errors import InvalidInput, NotFound, Unavailable, VisualSearchError
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from visualsearch.tls import ClientTLS

TIMEOUT_S = 30.0
"""Longer than any deadline of the gateway, so that the gateway's own error always arrives first."""
DELETED_AT_ONCE = 200
"""Images that one request deletes, in about a second."""


def connect() -> Client:
    """Return a client of the gateway that the settings name, with their API key."""
    settings = Settings.load()
    return Client(settings.url, settings.api_key.get_secret_value(), settings.client_tls)


class Client:
    """A client of one gateway. Use it as a context manager.

    Every call raises ``Unavailable`` when the gateway does not answer or reports that it is unavailable, and
    ``NotFound`` or ``InvalidInput`` with the gateway's message.
    """

    def __init__(self, url: str, api_key: str = "", tls: ClientTLS | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        trusted = tls.context(trust_public=True) if tls else True
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, verify=trusted)
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def search(
        self, file: Path, *, bbox: str | None, k: int, near_duplicates: str, min_score: float | None = None
    ) -> dict[str, Any]:
        """Search with a picture file; return the gateway's JSON unchanged."""
        given = {"k": k, "near_duplicates": near_duplicates, "bbox": bbox or None, "min_score": min_score}
        form = {name: str(value) for name, value in given.items() if value is not None}
        with file.open("rb") as picture:
            response = self._call("POST", "/search", data=form, files={"image": (file.name, picture)})
        answer: dict[str, Any] = response.json()
        return answer

    def image(self, image_id: int, wait_s: float = 0) -> dict[str, Any]:
        """Return the metadata of one image, as soon as it is no longer pending or after ``wait_s`` seconds."""
        facts: dict[str, Any] = self._call("GET", f"/images/{image_id}", params={"wait_s": wait_s}).json()
        return facts

    def images(self, **wanted: str | int) -> Iterator[dict[str, Any]]:
        """Return images in the order of their ids; ``wanted`` are parameters of `GET /images`."""
        after: int | None = 0
        while after is not None:
            page = self._call("GET", "/images", params=wanted | {"after": after}).json()
            yield from page["images"]
            after = page["next"]

    def content(self, image_id: int, size: int) -> bytes:
        """Return a thumbnail whose longer side is ``size`` pixels."""
        return self._call("GET", f"/images/{image_id}/content", params={"size": size}).content

    def stats(self) -> dict[str, Any]:
        """Return the counts of the corpus and the state of the canary."""
        stats: dict[str, Any] = self._call("GET", "/stats").json()
        return stats

    def delete(self, image_id: int) -> None:
        """Delete an image from every store."""
        self._call("DELETE", f"/images/{image_id}")

    def deletable(self, wanted: dict[str, Any]) -> list[int]:
        """Return the ids of the images that would be deleted; ``wanted`` is what `POST /deletions` takes."""
        found: list[int] = []
        after: int | None = 0
        while after is not None:
            page = self._call("POST", "/deletions", json=wanted | {"dry_run": True, "after": after}).json()
            found += page["image_ids"]
            after = page["next"]
        return found

    def delete_all(self, image_ids: Sequence[int]) -> list[int]:
        """Delete up to ``DELETED_AT_ONCE`` images; return the ids of those that were there."""
        answer = self._call("POST", "/deletions", json={"image_ids": list(image_ids), "limit": DELETED_AT_ONCE})
        deleted: list[int] = answer.json()["image_ids"]
        return deleted

    def change(self, image_id: int, **changes: str) -> dict[str, Any]:
        """Change ``source`` or ``visibility`` of an image; it is pending then."""
        accepted: dict[str, Any] = self._call("PATCH", f"/images/{image_id}", json=changes).json()
        return accepted

    def experiments(self) -> list[dict[str, Any]]:
        """Return all experiments, newest first."""
        found: list[dict[str, Any]] = self._call("GET", "/experiments").json()
        return found

    def experiment(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Define an experiment (path ``""``), or start or stop it (``/NAME/start``, ``/NAME/stop``); return it."""
        experiment: dict[str, Any] = self._call("POST", f"/experiments{quote(path)}", json=body).json()
        return experiment

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx' own options
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The gateway at {self._url}", f"{error or type(error).__name__}; is it up? `visualsearch up` starts it"
            ) from None
        if response.is_success:
            return response
        raise _error(response)


def _error(response: httpx.Response) -> VisualSearchError:
    """Turn a problem document into the error that its status code stands for."""
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"The gateway answered {response.status_code}."
    if response.status_code == httpx.codes.NOT_FOUND:
        return NotFound(detail)
    if response.is_client_error:
        return InvalidInput(detail)
    return Unavailable("The gateway", detail)
