"""Odd WebPs: lossy and lossless, with alpha, profiles and turns."""

from tests.fuzz.pictures.formats import riff, riff_chunk, riff_chunks
from tests.odd_pictures import exif, profiles
from tests.odd_pictures.odd_picture import OddPicture, cutout, scene
from tests.pictures import encoded


def webps() -> dict[str, OddPicture]:
    """Odd WebPs by name."""
    return {**_codings(), **_turned(), **_profiled()}


def _codings() -> dict[str, OddPicture]:
    return {
        "WebP, lossy": OddPicture(encoded(scene(), "WEBP", quality=95), tolerance=2),
        "WebP, coarse": OddPicture(encoded(scene(), "WEBP", quality=5), tolerance=2),
        "WebP, lossless": OddPicture(encoded(scene(), "WEBP", lossless=True)),
        "WebP, a palette": OddPicture(encoded(scene().quantize(12).convert("RGB"), "WEBP", lossless=True)),
        "WebP, lossy with alpha": OddPicture(encoded(cutout(), "WEBP", quality=95), tolerance=2),
        "WebP, lossless with alpha": OddPicture(encoded(cutout(), "WEBP", lossless=True, exact=True)),
    }


def _turned() -> dict[str, OddPicture]:
    made = {f"WebP, EXIF {turn}": encoded(scene(), "WEBP", lossless=True, exif=exif.tiff(turn)) for turn in range(1, 9)}
    made |= {
        "WebP, EXIF 6 with a JPEG's prefix": encoded(scene(), "WEBP", lossless=True, exif=b"Exif\0\0" + exif.tiff(6)),
        "WebP, EXIF 6, XMP 3": encoded(scene(), "WEBP", lossless=True, exif=exif.tiff(6), xmp=exif.xmp(3)),
        "WebP, XMP 6 alone": encoded(scene(), "WEBP", lossless=True, xmp=exif.xmp(6)),
        "WebP, broken EXIF": encoded(scene(), "WEBP", lossless=True, exif=b"MM\0*\0\0\0\x08\xff\xff\x01\x12"),
        "WebP, EXIF 6 that its header does not announce": _unannounced(
            encoded(scene(), "WEBP", lossless=True, exif=exif.tiff(6))
        ),
    }
    return {name: OddPicture(data) for name, data in made.items()}


def _profiled() -> dict[str, OddPicture]:
    p3 = profiles.rgb_profile(profiles.P3, profiles.SRGB_CURVE)
    light = profiles.rgb_profile(profiles.SRGB, profiles.gamma_curve(1))
    made = {
        "WebP, lossy in Display P3": encoded(scene(), "WEBP", quality=95, icc_profile=p3),
        "WebP, lossless in Display P3": encoded(scene(), "WEBP", lossless=True, icc_profile=p3),
        "WebP, alpha in Display P3": encoded(cutout(), "WEBP", lossless=True, exact=True, icc_profile=p3),
        "WebP, linear light": encoded(scene(), "WEBP", lossless=True, icc_profile=light),
        "WebP, a profile for grey": encoded(scene(), "WEBP", lossless=True, icc_profile=profiles.grey_profile(1)),
        "WebP, a profile for CMYK": encoded(scene(), "WEBP", lossless=True, icc_profile=profiles.cmyk_profile()),
        "WebP, a profile of nothing": encoded(scene(), "WEBP", lossless=True, icc_profile=bytes(300)),
    }
    return {name: OddPicture(data, tolerance=2) for name, data in made.items()}


def _unannounced(data: bytes) -> bytes:
    """Clear the flags in the header that say which chunks follow."""
    parts = riff_chunks(data)
    rest = [riff_chunk(part.kind, part.data) for part in parts[1:]]
    return riff(riff_chunk(b"VP8X", bytes(4) + parts[0].data[4:]), *rest)
