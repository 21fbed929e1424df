"""An afternoon's folder as people have it: pictures, and everything that lies between them."""

import os
import socket
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PIL import Image

from tests.pictures import encoded, jpeg, noise


@dataclass
class UntidyFolder:
    """Files below ``root``, and beside it what links lead to. ``outcomes`` counts what must become of each file."""

    root: Path
    outcomes: Counter = field(default_factory=Counter)
    rejected: dict[str, str] = field(default_factory=dict)
    """A part of the reason by the name that is shown."""
    renamed: list[str] = field(default_factory=list)
    """Names that are shown beside their keys."""
    seeds: count = field(default_factory=lambda: count(7000))

    def put(self, outcome, name, data=None):
        """Write a file, by default a picture like no other."""
        file = self.root / (os.fsdecode(name) if isinstance(name, bytes) else name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(next(self.seeds), 96, 64) if data is None else data)
        self.outcomes[outcome] += 1
        return file

    def reject(self, name, data, reason):
        self.put("rejected", name, data)
        self.rejected[name] = reason


def untidy_folder(root: Path) -> UntidyFolder:
    """Make such a folder."""
    made = UntidyFolder(root)
    pictures(made)
    odd_names(made)
    refused(made)
    no_pictures(made)
    excluded(made)
    links(made)
    special_files(made)
    return made


def pictures(made):
    for name in ("IMG_0001.JPG", "img_0001.jpg", "without suffix", "picture.ogg", "queries/a.jpg", "a/b/c/d/e.jpg"):
        made.put("indexed", name)
    made.put("indexed", "drawing.png", encoded(noise(next(made.seeds), 64, 64), "PNG"))
    made.put("indexed", "photo.webp", encoded(noise(next(made.seeds), 64, 64), "WEBP"))


def odd_names(made):
    plain = (
        "100% + & ?#;=.jpg",
        "[/b][bold].jpg",
        " leading.jpg",
        "trailing .jpg",
        "dots...jpg",
        "日本 🐈.jpg",
        "-rf.jpg",
    )
    for name in (*plain, "caf\u00e9.jpg", "cafe\u0301.jpg", "x" * 200 + ".jpg", "'quoted\".jpg", "~tilde~.jpg"):
        made.put("indexed", name)
    shown = {
        "line\nbreak.jpg": "line\\nbreak.jpg",
        "red\x1b[31m.jpg": "red\\x1b[31m.jpg",
        "back\\slash.jpg": "back\\slash.jpg",
        b"latin-\xe9.jpg": "latin-\\xe9.jpg",
        "back\\folder/a.jpg": "back\\folder/a.jpg",
    }
    for name in shown:
        made.put("indexed", name)
    made.renamed += shown.values()


def refused(made):
    made.reject("half.jpg", jpeg(1)[:2000], "is cut off")
    made.reject("tiny.png", encoded(Image.new("RGB", (4, 4)), "PNG"), "16 pixels")
    made.reject("page.jpg", b"<html>no picture</html>", "by its content")
    made.reject("empty.jpg", b"", "empty")
    deep = "/".join(["d" * 200] * 6)
    made.put("rejected", f"{deep}/too deep.jpg")


def no_pictures(made):
    for name in ("a.ogg", "b.ogg", "C.OGG", "notes.txt", "save.dat", "README", "x[/b].txt", "film.mp4"):
        made.put("no picture", name, b"OggS no picture at all")
    made.put("no picture", "nothing", b"")


def excluded(made):
    nas = ("@eaDir/IMG_0001.JPG/SYNOPHOTO_THUMB_M.jpg", "#recycle/old.jpg", ".thumbnails/normal/1.png", "Thumbs.db")
    computers = ("__MACOSX/._IMG_0001.JPG", ".DS_Store", ".hidden.jpg", "$RECYCLE.BIN/x.jpg", "desktop.ini")
    for name in (*nas, *computers, "site/node_modules/lib/logo.png", "half.jpg.part", "drafts/a.jpg", "drafts/b.jpg"):
        made.put("excluded", name)
    made.put("excluded", ".visualsearchignore", b"# not yet\ndrafts/\n")


def links(made):
    outside = made.root.parent / "outside"
    outside.mkdir()
    (made.root / "linked").symlink_to(outside)
    made.put("indexed", "linked/a.jpg")
    (made.root / "linked again").symlink_to(outside)
    (made.root / "a" / "circle").symlink_to(made.root)
    (made.root / "above").symlink_to(made.root.parent)
    (made.root / "another name.jpg").symlink_to(made.root / "IMG_0001.JPG")
    made.outcomes["indexed"] += 1
    (made.root / "nowhere.jpg").symlink_to("gone.jpg")
    made.outcomes["rejected"] += 1
    made.rejected["nowhere.jpg"] = "No such file"


def special_files(made):
    os.mkfifo(made.root / "pipe")
    here = Path.cwd()
    os.chdir(made.root)  # the path of a socket has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    finally:
        os.chdir(here)
    for name in ("pipe", "socket"):
        made.outcomes["rejected"] += 1
        made.rejected[name] = "no regular file"
