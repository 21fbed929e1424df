"""Read Qt's resource files (.rcc), in which GCompris stores its pictures.

The layout follows Qt's own reader, qresource.cpp, and writer, rcc.cpp: a tree of nodes, a table of names in UTF-16,
and the files' bytes. Versions 1 to 3 differ in a modification time per node and in flags at the end of the header.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COMPRESSED, _DIRECTORY, _ZSTD = 1, 2, 4
_NODE_BYTES = {1: 14, 2: 22, 3: 22}


def files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file. Skip files compressed by zstd, because pictures never are.

    Raises ``InvalidInput`` if the bytes are not a resource file.
    """
    if data[:4] != b"qres":
        raise InvalidInput("The file is no Qt resource file: it does not begin with `qres`.")
    version, tree, contents, names = struct.unpack_from(">4I", data, 4)
    if version not in _NODE_BYTES:
        raise InvalidInput(f"Qt resource files of version {version} are not known; versions 1 to 3 are.")

    def walk(node: int, path: str) -> Iterator[tuple[str, bytes]]:
        name_at, flags, first, second = struct.unpack_from(">IHII", data, tree + node * _NODE_BYTES[version])
        if node:
            (length,) = struct.unpack_from(">H", data, names + name_at)
            begin = names + name_at + 6  # past the length and a hash
            path = f"{path}/{data[begin : begin + 2 * length].decode('utf-16-be')}"
        if flags & _DIRECTORY:
            for child in range(second, second + first):
                yield from walk(child, path)
        elif not flags & _ZSTD:
            (size,) = struct.unpack_from(">I", data, contents + second)
            content = data[contents + second + 4 : contents + second + 4 + size]
            yield path.lstrip("/"), zlib.decompress(content[4:]) if flags & _COMPRESSED else content

    yield from walk(0, "")


def unpack(file: Path, folder: Path) -> None:
    """Write the pictures of a resource file under a folder."""
    for name, content in files(file.read_bytes()):
        target = folder / name
        if target.suffix.lower() in {".webp", ".png", ".jpg", ".jpeg"} and target.resolve().is_relative_to(
            folder.resolve()
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
