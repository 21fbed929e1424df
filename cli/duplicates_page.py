"""The groups of `visualsearch duplicates` as one HTML file, pictures included: without a server and without scripts."""

from __future__ import annotations

import asyncio
import base64
import os
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cli.duplicates_table import MEMBERS, summary
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Visibility
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.imaging.preprocessing import thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from indexer.maintenance.duplicate_groups import DuplicateGroup
    from indexer.maintenance.duplicate_report import DuplicateReport
    from visualsearch.domain.images import Image
    from visualsearch.ports import ObjectStore

SIDE = 240
"""Longer side of a picture, in pixels."""
AT_ONCE = 8
STYLE = """
:root { color-scheme: light dark; --paper: #f6f6f3; --card: #fff; --ink: #17191c; --soft: #5d636b; --line: #e1e1dc;
  --accent: #0b7a6b; --bad: #a8281c; font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
@media (prefers-color-scheme: dark) { :root { --paper: #121416; --card: #1b1e21; --ink: #eceeef; --soft: #a0a7ae;
  --line: #2d3236; --accent: #4fcdb6; --bad: #ff9a8d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 24px 16px; background: var(--paper); color: var(--ink); }
h1, h2 { line-height: 1.2; letter-spacing: -.02em; }
h2 { margin: 40px 0 12px; }
p { color: var(--soft); white-space: pre-line; }
.group { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin: 0 0 16px;
  padding: 12px; border: 1px solid var(--line); border-radius: 12px; background: var(--card); }
figure { margin: 0; min-width: 0; }
.picture { display: grid; place-items: center; height: 150px; border-radius: 8px; background: var(--paper);
  color: var(--soft); overflow: hidden; }
.keep .picture { outline: 3px solid var(--accent); outline-offset: -3px; }
img { max-width: 100%; max-height: 150px; }
figcaption { margin-top: 6px; font-size: .82rem; color: var(--soft); overflow-wrap: anywhere; }
b { color: var(--ink); } .keep b { color: var(--accent); } .private { color: var(--bad); }
"""


async def write_page(
    file: Path,
    report: DuplicateReport,
    object_store: ObjectStore,
    limit: int,
    on_progress: Callable[[str, int, int | None], None],
) -> None:
    """Write the page with the largest groups, at most ``limit`` of each kind. Only its writer may read the file."""
    shown = [*report.copies[:limit], *report.near[:limit]]
    ids = sorted({i for one in shown for i in (one.leader, *(member.image_id for member in one.members[:MEMBERS]))})
    pictures = await _pictures([report.known[image_id] for image_id in ids], object_store, on_progress)
    page = "".join(_page(report, limit, pictures))
    file.parent.mkdir(parents=True, exist_ok=True)
    # It shows private pictures of all owners.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(page)


async def _pictures(
    images: Sequence[Image], object_store: ObjectStore, on_progress: Callable[[str, int, int | None], None]
) -> dict[int, bytes]:
    """Return JPEG files by id; pictures that are gone or cannot be read are left out."""
    found: dict[int, bytes] = {}
    done = 0
    free = asyncio.Semaphore(AT_ONCE)

    async def shrink(image: Image) -> None:
        nonlocal done
        async with free:
            try:
                data = await object_store.get(object_store.key(image.uri), MAX_UPLOAD_BYTES)
                found[image.id] = await pool.run(thumbnail, data, SIDE)
            except (NotFound, InvalidInput):
                pass
        done += 1
        on_progress("pictures", done, len(images))

    with PicturePool() as pool:
        await asyncio.gather(*map(shrink, images))
    return found


def _page(report: DuplicateReport, limit: int, pictures: Mapping[int, bytes]) -> Iterator[str]:
    yield (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>Duplicates</title>\n<style>{STYLE}</style>\n"
        f"<h1>Duplicates</h1>\n<p>{escape(summary(report, limit))}</p>\n"
    )
    kinds = (("Exact copies", report.copies, False), ("Near-duplicates", report.near, True))
    for title, groups, near in kinds:
        yield f"<h2>{title}</h2>\n"
        if not groups:
            yield "<p>None.</p>\n"
        for group in groups[:limit]:
            yield from _group(group, report.known, pictures, near=near)
    yield "</html>\n"


def _group(
    group: DuplicateGroup, known: Mapping[int, Image], pictures: Mapping[int, bytes], *, near: bool
) -> Iterator[str]:
    yield '<section class="group">\n'
    yield _figure(known[group.leader], pictures, "keep: the largest", keep=True)
    for member in group.members[:MEMBERS]:
        note = f"cosine {member.cosine:.3f}, {member.distance} bits" if near else "the same file"
        yield _figure(known[member.image_id], pictures, note)
    if (more := len(group.members) - MEMBERS) > 0:
        yield f"<p>and {more:,} more</p>\n"
    yield "</section>\n"


def _figure(image: Image, pictures: Mapping[int, bytes], note: str, *, keep: bool = False) -> str:
    name = escape(unquote(image.uri.rpartition("/")[2], errors="replace"))
    data = base64.b64encode(pictures.get(image.id, b"")).decode()
    picture = f'<img src="data:image/jpeg;base64,{data}" alt="{name}">' if data else "no picture"
    owner = f" of {escape(image.owner)}" if image.owner else ""
    private = (
        f'<span class="private">private{owner}</span>' if image.visibility is Visibility.PRIVATE else f"public{owner}"
    )
    return (
        f'<figure{" class=keep" if keep else ""}><div class="picture">{picture}</div><figcaption>'
        f'<b title="{escape(image.uri)}">{image.id}</b> {name}<br>{image.width}x{image.height}, {private}<br>{note}'
        "</figcaption></figure>\n"
    )
