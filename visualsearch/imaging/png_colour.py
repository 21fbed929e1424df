"""The colours of a PNG that its cICP chunk, or its gAMA and cHRM chunks describe, as an ICC profile."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_D65 = (0.3127, 0.3290)
_DCI_WHITE = (0.314, 0.351)
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_GAMUTS = {
    1: _SRGB,
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (*_DCI_WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""Chromaticities of white, red, green and blue, by ColourPrimaries of ITU-T H.273."""
_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), (2.4,)),  # how a screen shows video, which is not how a camera takes it
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
}
"""Parameters of ICC's parametric curves, by TransferCharacteristics of ITU-T H.273. Those of HDR, 16 and 18, are
not here: what a screen shows of them depends on the screen."""
_FULL_RANGE_RGB = (0, 1)


def code_points_profile(info: Mapping[Any, Any]) -> bytes | None:
    """Return the profile that a picture's code points describe; None if it has none, or others than those of RGB."""
    points = info.get("cicp")
    if not isinstance(points, bytes) or len(points) != 4 or tuple(points[2:]) != _FULL_RANGE_RGB:
        return None
    gamut, curve = _GAMUTS.get(points[0]), _CURVES.get(points[1])
    return _profile(gamut, curve) if gamut and curve else None


def gamma_profile(info: Mapping[Any, Any]) -> bytes | None:
    """Return the profile of a picture's gamma and primaries; None without gamma, or if the picture says it is sRGB."""
    gamma, gamut = info.get("gamma"), info.get("chromaticity", _SRGB)
    if "srgb" in info or not isinstance(gamma, float) or not gamma > 0 or not isinstance(gamut, tuple):
        return None
    return _profile(gamut, (1 / gamma,))


def _profile(gamut: tuple[float, ...], curve: tuple[float, ...]) -> bytes | None:
    """Write an ICC profile of three primaries with one curve; None if there are no such primaries."""
    try:
        columns = _to_xyz(gamut).T
        tags = [b"XYZ " + bytes(4) + _fixed(*column) for column in columns]
        tone = b"para" + struct.pack(">IHH", 0, 3 if len(curve) > 1 else 0, 0) + _fixed(*curve)
    except (np.linalg.LinAlgError, ZeroDivisionError, struct.error, ValueError, OverflowError):
        return None
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    table, body = b"", b""
    for name, tag in zip(names, [*tags, tone, tone, tone], strict=True):
        table += struct.pack(">4sII", name, _TAGS_AT + 12 * len(names) + len(body), len(tag))
        body += tag
    size = _TAGS_AT + len(table) + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp") + _fixed(*_D50)
    return header.ljust(_TAGS_AT - 4, b"\0") + struct.pack(">I", len(names)) + table + body


_TAGS_AT = 132
"""Bytes of a profile's header and the number of its tags."""


def _to_xyz(gamut: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the matrix from linear light of the primaries to XYZ, adapted to ICC's white."""
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(gamut[::2], gamut[1::2], strict=True))
    columns = np.array(primaries).T
    lit = columns * np.linalg.solve(columns, white)
    adapted: NDArray[np.float64] = (
        np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD @ lit
    )
    return adapted


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(65536 * number) for number in numbers))
