"""Colours: modes that can be resized, and colour profiles."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from visualsearch.imaging.png_colour import code_points_profile, gamma_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_PROFILE_BYTES = 4_000_000
"""Profiles of printers have up to 3 MB, those of screens and cameras some thousand bytes."""
_MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
"""The mode of the pictures whose colours a profile describes, by its colour space."""


def resizable(image: Image.Image) -> Image.Image:
    """Convert modes that cannot be averaged (palettes, bits, 16 bits) to L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):
        return _grey_of_16_bits(image)
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("1", "L", "LA") or image.info.get("grey") else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def srgb(image: Image.Image) -> Image.Image:
    """Convert a small picture of a resizable mode to sRGB, in RGB, or in RGBA if it has alpha.

    The first profile that is readable and fits counts; a grey picture may have one of RGB.
    """
    has_alpha = image.mode in ("LA", "RGBA")
    mode = image.mode.removesuffix("A")
    transform = next((found for profile in _profiles(image) if (found := _to_srgb(profile, mode))), None)
    if transform is None:
        return image.convert("RGBA" if has_alpha else "RGB")
    converted = transform.apply(image.convert(transform.input_mode))
    if has_alpha:
        converted.putalpha(image.getchannel("A"))
    return converted


def _profiles(image: Image.Image) -> Iterator[bytes]:
    """Yield the profiles that a picture has, in the order in which browsers prefer them."""
    embedded = image.info.get("icc_profile")  # None if pieces of it are missing
    for profile in (code_points_profile(image.info), embedded, gamma_profile(image.info)):
        if isinstance(profile, bytes) and 0 < len(profile) <= _MAX_PROFILE_BYTES:
            yield profile


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
    """Scale to 8 bits; Pillow's own conversion would clip at 255 instead."""
    samples = np.clip(np.asarray(image, np.int32), 0, 65535)
    grey = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8)))
    grey.info = {**image.info}
    return grey


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of an ICC profile, or None if it does not fit pictures of a mode.

    Cached, because building it takes as long as decoding a picture.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        described = _MODES.get(source.profile.xcolor_space, "")
        if described != mode and (described, mode) != ("RGB", "L"):
            return None
        return ImageCms.buildTransform(source, _SRGB_2 if described == "CMYK" else _SRGB, described, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _of_version_2(profile: ImageCms.ImageCmsProfile) -> ImageCms.ImageCmsProfile:
    """Mark a profile as one of version 2. For version 4, LittleCMS makes a printer's black the screen's."""
    written = bytearray(profile.tobytes())
    written[8] = 2
    return ImageCms.ImageCmsProfile(BytesIO(bytes(written)))


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_SRGB_2 = _of_version_2(_SRGB)
