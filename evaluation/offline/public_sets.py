"""The public benchmark, built from fetched packages. Training excludes all its pictures (``splits``)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

from evaluation.datasets.fetch import SOURCES, fetch
from evaluation.offline import edits
from evaluation.offline.sets import EvaluationSet, by_folders, picture_files
from evaluation.offline.splits import emoji_base, emoji_held_out, openclipart_held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SAME, VARIANT, SUBCATEGORY, CATEGORY = 5, 4, 2, 1
SHOWN_TONE = "1F3FD"
"""The one of five skin tones that represents a drawing's variants. All five would dominate the results."""
SMALLEST_FOLDER = 8
"""Minimum number of pictures in an openclipart folder that counts as a category."""
NO_CATEGORY = ("unsorted", "special")
EDITED = 1000


def emoji(data: Path, query_hand: str, corpus_hand: str) -> EvaluationSet:
    """Query with one vendor's drawings for the same or similar emoji by another vendor."""
    described = _held_out_emoji(data)
    asked, corpus = _drawings(data, query_hand, described), _drawings(data, corpus_hand, described)
    queries = {code: file for code, file in asked.items() if code in corpus and SHOWN_TONE not in code}
    grades = {code: {other: grade for other in corpus if (grade := _grade(code, other, described))} for code in queries}
    groups = {code: described[code][0] for code in queries}
    return EvaluationSet(f"emoji {query_hand} to {corpus_hand}", queries, corpus, grades, groups, relevant_from=SAME)


def openclipart(data: Path) -> EvaluationSet:
    """Query with a drawing for others in its folder (grade 2) or in its topmost folder (grade 1)."""
    files = openclipart_files(data)
    sizes = Counter(name.rpartition("/")[0] for name in files)
    kept = {
        name: file
        for name, file in files.items()
        if sizes[name.rpartition("/")[0]] >= SMALLEST_FOLDER and not name.startswith(NO_CATEGORY)
    }
    return by_folders("openclipart folders", kept)


def tuxpaint(data: Path) -> EvaluationSet:
    """Query with a stamp, a drawing or photograph, for others in its folder."""
    folder = fetch(SOURCES["tuxpaint-stamps-default"], data) / "usr/share/tuxpaint/stamps"
    # Leave out mirrored and flipped stamps, which repeat the same picture.
    files = {
        name: file
        for name, file in picture_files(folder).items()
        if not file.stem.endswith(("_mirror", "_flip", "_mirror_flip"))
    }
    return by_folders("Tux Paint stamps", files)


def edited(data: Path) -> EvaluationSet:
    """Query with an edit of a drawing for the drawing itself, among about 1,000."""
    files = openclipart_files(data)
    return edits.evaluation_set("edits", files, EDITED, data / "edits")


def openclipart_files(data: Path) -> dict[str, Path]:
    """Return the held-out pictures of openclipart, without those that training has under another name."""
    folder = fetch(SOURCES["openclipart-png"], data) / "usr/share/openclipart/png"
    digests = {name: hashlib.sha256(file.read_bytes()).digest() for name, file in picture_files(folder).items()}
    seen = {digest for name, digest in digests.items() if not openclipart_held_out(name)}
    unseen: dict[str, Path] = {}
    for name, digest in digests.items():
        if openclipart_held_out(name) and digest not in seen:
            seen.add(digest)
            unseen[name] = folder / name
    return unseen


SETS: dict[str, Callable[[Path], EvaluationSet]] = {
    "emoji-google-twitter": lambda data: emoji(data, "google", "twitter"),
    "emoji-twitter-google": lambda data: emoji(data, "twitter", "google"),
    "emoji-fluent-google": lambda data: emoji(data, "fluent", "google"),
    "emoji-twitter-fluent": lambda data: emoji(data, "twitter", "fluent"),
    "openclipart": openclipart,
    "tuxpaint": tuxpaint,
    "edits": edited,
}
"""Builders by name. Each takes the data folder and fetches missing packages into it."""


def _held_out_emoji(data: Path) -> dict[str, tuple[str, str]]:
    """Return category and subcategory of each emoji and its variants, by code points such as ``1F3C3-1F3FD``."""
    table = fetch(SOURCES["emoji-datasource-google"], data) / "package/emoji.json"
    described = {}
    for entry in json.loads(table.read_text()):
        if emoji_held_out(entry["unified"]):
            kinds = (entry["category"], entry["subcategory"])
            tones = entry.get("skin_variations", {})
            for code in (entry["unified"], *(tones[tone]["unified"] for tone in tones if tone == SHOWN_TONE)):
                described[code] = kinds
    return described


def _drawings(data: Path, hand: str, described: Mapping[str, tuple[str, str]]) -> dict[str, Path]:
    if hand == "fluent":
        folder = fetch(SOURCES["fluent-emoji-3d"], data) / "package/assets"
        files = {_plain(file.stem): file for file in folder.glob("*.webp")}
    else:
        folder = fetch(SOURCES[f"emoji-datasource-{hand}"], data) / f"package/img/{hand}/64"
        files = {_plain(file.stem): file for file in folder.glob("*.png")}
    return {code: files[_plain(code)] for code in described if _plain(code) in files}


def _plain(code: str) -> str:
    """Normalise code points, to compare the vendors' file names: lower case, no leading zeros, no FE0F."""
    return "-".join(point.lstrip("0") for point in code.lower().split("-") if point != "fe0f")


def _grade(one: str, other: str, described: Mapping[str, tuple[str, str]]) -> int:
    if one == other:
        return SAME
    if emoji_base(one) == emoji_base(other):
        return VARIANT
    (category, subcategory), (other_category, other_subcategory) = described[one], described[other]
    if category != other_category:
        return 0
    return SUBCATEGORY if subcategory == other_subcategory else CATEGORY
