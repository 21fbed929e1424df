"""Multipart forms: validates the fields, and reads the bytes of a picture."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, File, Request, UploadFile

from visualsearch.domain.errors import BrokenImage, ImageTooLarge, InvalidInput
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.imaging.formats.table import MEDIA_TYPES, NAMES

NEVER_EMPTY = ("bbox", "k", "near_duplicates", "consistency", "user_id", "min_score")
"""Form fields that must be omitted, not empty, to get their default. An empty value is a mistake of the client."""

Picture = Annotated[UploadFile, File(description=f"{NAMES}, up to 20 MB and, by format, 64 to 200 megapixels.")]

PICTURE_FORM = {
    "requestBody": {
        "content": {"multipart/form-data": {"encoding": {"image": {"contentType": ", ".join(MEDIA_TYPES)}}}}
    }
}
"""What the OpenAPI document says of a form's picture beside ``Picture``."""


async def plain_form(request: Request) -> None:
    """Raise ``InvalidInput`` if a form has a field twice, or an empty field that must have a value."""
    form = await request.form()
    for name in form:
        values = form.getlist(name)
        if len(values) > 1:
            raise InvalidInput(f"The form has {len(values)} fields named '{name[:40]}': send one.")
        if name in NEVER_EMPTY and values == [""]:
            raise InvalidInput(f"The field '{name}' is empty: give it a value, or leave it out.")


PlainForm = Depends(plain_form)


async def picture_bytes(image: UploadFile) -> bytes:
    """Read an uploaded picture. Raises ``BrokenImage`` if it is empty, ``ImageTooLarge`` if it exceeds the limit."""
    data = await image.read()
    if not data:
        raise BrokenImage("The picture is empty. Send the bytes of a file, such as a JPEG, PNG or WebP, as 'image'.")
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The picture has {len(data)} bytes; {MAX_UPLOAD_BYTES} (20 MB) are the limit.")
    return data
