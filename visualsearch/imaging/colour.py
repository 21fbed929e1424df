"""Colours: modes that can be resized, colour profiles, transparency."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_MAX_PROFILE_BYTES = 1_000_000


def resizable(image: Image.Image) -> Image.Image:
    """Convert modes that cannot be averaged (palettes, bits, 16 bits) to one that can."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255 instead of scaling
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def srgb_on_white(image: Image.Image) -> Image.Image:
    """Convert a small picture to sRGB on white. An unreadable colour profile is ignored."""
    profile = image.info.get("icc_profile") or b""  # None if pieces of it are missing
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image, is_rgb = image.convert("RGB"), image.mode in ("RGB", "RGBA")
    if is_rgb and 0 < len(profile) <= _MAX_PROFILE_BYTES and (transform := _to_srgb(profile)):
        image = ImageCms.applyTransform(image, transform) or image
    return image


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of an ICC profile; cached, because building it takes as long as decoding a picture."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
