"""Kinds of files that are not accepted, by name, so that people learn what they sent."""

from __future__ import annotations

import re


def _kind(name: str, pattern: bytes) -> tuple[str, re.Pattern[bytes]]:
    return name, re.compile(pattern, re.DOTALL)


OTHERS = (
    _kind("a raw file of a camera (Canon CR2)", rb"II[*]\0.{4}CR"),
    _kind("a raw file of a camera (Canon CR3)", rb".{4}ftypcrx "),
    _kind("a raw file of a camera (Fujifilm RAF)", rb"FUJIFILMCCD-RAW"),
    _kind("a raw file of a camera (Olympus ORF)", rb"IIR[OS]|MMOR"),
    _kind("a raw file of a camera (Panasonic RW2)", rb"IIU\0"),
    _kind("a raw file of a camera (Sigma X3F)", rb"FOVb"),
    _kind("a raw file of a camera (Minolta MRW)", rb"\0MRM"),
    _kind("a JPEG 2000 picture", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    _kind("a JPEG XL picture", rb"\xff\x0a|\0\0\0\x0cJXL "),
    _kind("a JPEG XR picture", rb"II\xbc"),
    _kind("an SVG drawing", rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg\b"),
    _kind("a PDF document", rb"%PDF-"),
    _kind("a PostScript document", rb"%!PS|\xc5\xd0\xd3\xc6"),
    _kind("a Photoshop document", rb"8BPS"),
    _kind("an icon (ICO)", rb"\0\0[\x01\x02]\0[^\0]\0"),
    _kind("an Apple icon (ICNS)", rb"icns"),
    _kind("a GIMP picture (XCF)", rb"gimp xcf"),
    _kind("a picture of a Unix program (PBM, PGM, PPM)", rb"P[1-7]\s"),
    _kind("an HDR picture (Radiance)", rb"#\?(?:RADIANCE|RGBE)"),
    _kind("an HDR picture (OpenEXR)", rb"v/1\x01"),
    _kind("a texture (DDS)", rb"DDS "),
    _kind("a texture (KTX)", rb"\xabKTX "),
    _kind("a QOI picture", rb"qoif"),
    _kind("a HEIF picture coded by H.264 (AVCI)", rb".{4}ftypav(?:ci|cs)"),
    _kind("a HEIF picture of an unusual coding", rb".{4}ftypm[is]f[12]"),
    _kind("a video", rb".{4}ftyp|.{4}(?:moov|mdat|wide)|\x1aE\xdf\xa3|RIFF.{4}AVI |FLV\x01|\0\0\x01[\xba\xb3]"),
    _kind("a sound recording", rb"RIFF.{4}WAVE|ID3|OggS|fLaC|\xff[\xfb\xf3\xf2]"),
    _kind("an archive", rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|.{257}ustar"),
    _kind("a web page", rb"\s*<(?i:!DOCTYPE html|html|head|body|script)\b"),
    _kind("an XML document", rb"\s*<\?xml|\s*<!DOCTYPE"),
)


def name_of(data: bytes) -> str | None:
    """Return what a file is that is not accepted, such as "a PDF document"; None if its first bytes do not tell."""
    return next((name for name, pattern in OTHERS if pattern.match(data)), None)
