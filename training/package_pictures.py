"""The training pictures of the shipped encoder inside Debian and npm packages, and what each of them shows.

They exclude everything that ``evaluation.offline.splits`` holds out, including all work of the held-out artists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from evaluation.datasets import fetch
from evaluation.datasets.fetch import PackageSource
from evaluation.offline.splits import emoji_base, emoji_held_out, held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_T = TypeVar("_T")

EMOJI = {
    "noto": "Apache-2.0",
    "noto-v1": "Apache-2.0",
    "twemoji": "CC-BY-4.0",
    "openmoji": "CC-BY-SA-4.0",
    "emojione": "CC-BY-4.0",
    "emojione-v1": "CC-BY-SA-4.0",
    "emojione-monotone": "CC-BY-4.0",
    "fxemoji": "Apache-2.0",
}
FLAGS = {"circle-flags": "MIT", "cif": "CC0-1.0", "flag": "MIT", "flagpack": "MIT"}
ICONS = {
    "carbon": "Apache-2.0",
    "catppuccin": "MIT",
    "devicon": "MIT",
    "fa6-solid": "CC-BY-4.0",
    "flat-color-icons": "MIT",
    "game-icons": "CC-BY-3.0",
    "healthicons": "MIT",
    "icon-park": "Apache-2.0",
    "logos": "CC0-1.0",
    "maki": "CC0-1.0",
    "material-icon-theme": "MIT",
    "mdi": "Apache-2.0",
    "meteocons": "MIT",
    "mingcute": "Apache-2.0",
    "ph": "MIT",
    "skill-icons": "MIT",
    "streamline-freehand-color": "CC-BY-4.0",
    "streamline-ultimate-color": "CC-BY-4.0",
    "tabler": "MIT",
    "vscode-icons": "MIT",
}
VERSIONS = {
    **{"noto": "1.2.9", "noto-v1": "1.2.5", "twemoji": "1.2.5", "openmoji": "1.2.29", "emojione": "1.2.3"},
    **{"emojione-v1": "1.2.3", "emojione-monotone": "1.2.1", "fxemoji": "1.2.2", "circle-flags": "1.2.11"},
    **{"cif": "1.2.7", "flag": "1.2.12", "flagpack": "1.2.8", "carbon": "1.2.29", "catppuccin": "1.2.17"},
    **{"devicon": "1.2.68", "fa6-solid": "1.2.4", "flat-color-icons": "1.2.3", "game-icons": "1.2.4"},
    **{"healthicons": "1.2.13", "icon-park": "1.2.4", "logos": "1.2.19", "maki": "1.2.5", "mdi": "1.2.3"},
    **{"material-icon-theme": "1.2.70", "meteocons": "1.2.4", "mingcute": "1.2.8", "ph": "1.2.2"},
    **{"skill-icons": "1.2.4", "streamline-freehand-color": "1.2.2", "streamline-ultimate-color": "1.2.2"},
    **{"tabler": "1.2.41", "vscode-icons": "1.2.97"},
}
THEMES = {
    "adwaita-icon-theme": ("Adwaita", "CC-BY-SA-4.0"),
    "breeze-icon-theme": ("breeze", "LGPL-3+"),
    "deepin-icon-theme": ("bloom", "LGPL-3+"),
    "elementary-xfce-icon-theme": ("elementary-xfce", "GPL-2+"),
    "faenza-icon-theme": ("Faenza", "GPL-3+"),
    "gnome-icon-theme": ("gnome", "GPL-2+"),
    "gnome-icon-theme-gartoon": ("gartoon", "GPL-2+"),
    "lxde-icon-theme": ("nuoveXT2", "LGPL-3+"),
    "mate-icon-theme": ("mate", "LGPL-3+ or CC-BY-SA"),
    "mint-y-icons": ("Mint-Y", "GPL-3+"),
    "moka-icon-theme": ("Moka", "CC-BY-SA-4.0 or GPL-3+"),
    "numix-icon-theme-circle": ("Numix-Circle", "GPL-3+"),
    "oxygen-icon-theme": ("oxygen", "LGPL-3+"),
    "paper-icon-theme": ("Paper", "CC-BY-SA-4.0"),
    "papirus-icon-theme": ("Papirus", "GPL-3"),
    "tango-icon-theme": ("Tango", "public domain"),
}
FOLDERS = {
    "openclipart-png": ("usr/share/openclipart/png", "public domain", 300),
    "gcompris-qt-data": ("usr/share/gcompris-qt/rcc", "CC-BY(-SA), public domain, GPL", 300),
    "opencv-doc": ("usr/share/doc/opencv-doc", "BSD, Apache-2.0", 300),
    "gnome-backgrounds": ("usr/share/backgrounds", "CC-BY-SA", 300),
    "mate-backgrounds": ("usr/share/backgrounds", "CC-BY-SA-4.0, GPL-2+", 300),
    "plasma-workspace-wallpapers": ("usr/share/wallpapers", "GPL-2+", 300),
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds", "CC-BY-4.0, CC-BY-SA-4.0, CC-BY-SA-3.0", 300),
    "ukui-wallpapers": ("usr/share/backgrounds", "CC-BY-SA-3.0", 300),
    "wesnoth-1.16-data": ("usr/share/games/wesnoth/1.16/data/core/images", "GPL-2+, CC-BY-SA-4.0", 4),
}
"""Path of each package's pictures, their licence, and the maximum number per folder. The maximum is needed because
openclipart holds 1,378 stars and Battle for Wesnoth every frame of a movement."""
NO_CATEGORY = ("unsorted", "special", "opencv4/html")
"""Folders whose names do not describe their pictures."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SMALL_EMOJI = {"emoji-datasource-google": "package/img/google/64", "emoji-datasource-twitter": "package/img/twitter/64"}
"""Drawings as 64-pixel pictures, which ``evaluation.datasets.fetch`` already lists."""
MIN_HANDS = 3
"""Minimum number of icon sets that contain a name. Rarer names are mostly brands and private names."""
MAX_HANDS = 5
ICON_NAMES, THEME_NAMES = 900, 1500
"""Maximum number of shared names of each kind, so that icons are only a quarter of all pictures."""
LARGE = 256
_SIZE = re.compile(r"(?:^|/)(\d+)(?:x\d+)?(?=/)")
_NOT_PICTURES = re.compile(r"symbolic|/doc/HTML|@2x|-rtl|_c?graph|inherit|_dep\.|_incl\.|/form_")
_SKIN_TONE = re.compile("1f3f[b-f]")
_REGIONAL_A = 0x1F1E6


@dataclass(frozen=True)
class Found:
    """A picture in a package."""

    source: str
    name: str
    picture: Path | str
    """A file, or the text of an SVG drawing."""
    concept: str = ""
    """Name of the depicted concept, equal for other artists' drawings of it. Empty if unknown."""
    category: str = ""
    """The picture's folder in its package."""


def packages() -> list[PackageSource]:
    """Return every package, as a source for ``evaluation.datasets.fetch``."""
    sets = {**EMOJI, **FLAGS, **ICONS}
    npm = [
        PackageSource(f"@iconify-json/{name}@{VERSIONS[name]}", ("package/",), sets[name], "SVG icons") for name in sets
    ]
    debian = {
        **{name: licence for name, (_, licence) in THEMES.items()},
        **{n: lic for n, (_, lic, _) in FOLDERS.items()},
    }
    npm += [fetch.SOURCES[name] for name in SMALL_EMOJI]
    return [*npm, *(PackageSource(name, (), licence, "pictures") for name, licence in debian.items())]


def pictures(data: Path) -> list[Found]:
    """List the pictures allowed for training in the packages under ``data``, in a fixed order."""
    emoji = [one for name in EMOJI for one in _emoji(data, name)]
    emoji += [one for name in SMALL_EMOJI for one in _small_emoji(data, name)]
    flags = [one for name in FLAGS for one in _flags(data, name)]
    icons = _shared([one for name in ICONS for one in _icons(data, name)], ICON_NAMES)
    themes = _shared([one for name in THEMES for one in _theme(data, name)], THEME_NAMES)
    return [*emoji, *flags, *icons, *themes, *(one for name in FOLDERS for one in _folder(data, name))]


def _svg(data: Path, name: str) -> dict[str, str]:
    """Read the drawings of an Iconify set, by name."""
    stored = json.loads((data / name / "package" / "icons.json").read_text())
    drawings = {}
    for icon, one in stored["icons"].items():
        box = [one.get(key, stored.get(key, 0 if key in ("left", "top") else 16)) for key in _BOX]
        size = f'viewBox="{" ".join(map(str, box))}" width="{box[2]}" height="{box[3]}"'
        namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        drawings[icon] = f'<svg {namespaces} {size} color="#222">{one["body"]}</svg>'
    return drawings


_BOX = ("left", "top", "width", "height")


@cache
def _codes(data: Path) -> dict[str, str]:
    """Return the code points of emoji by name. The sets share these names, except for hyphens."""
    codes = {}
    for name in ("twemoji", "noto", "openmoji"):
        chars = json.loads((data / name / "package" / "chars.json").read_text())
        codes.update({icon.replace("-", ""): code for code, icon in chars.items()})
    return codes


@cache
def _subcategories(data: Path) -> dict[str, str]:
    """Return Unicode's subcategories of emoji, by base emoji."""
    table = json.loads((data / "emoji-datasource-google" / "package" / "emoji.json").read_text())
    return {emoji_base(one["unified"]): f"emoji:{one['subcategory']}" for one in table}


def _of_emoji(data: Path, name: str, picture: Path | str, source: str, code: str) -> Found:
    base = emoji_base(code)
    return Found(source, name, picture, f"emoji:{base}", _subcategories(data).get(base, ""))


def _emoji(data: Path, name: str) -> Iterator[Found]:
    for icon, drawing in _svg(data, name).items():
        code = _codes(data).get(icon.replace("-", ""), "")
        is_variant = (
            "skin-tone" in icon or code.startswith("e") or not re.fullmatch(r"[0-9a-f]{2,5}(-[0-9a-f]+)*", code)
        )
        if not is_variant and not emoji_held_out(code):
            yield _of_emoji(data, icon, drawing, name, code)


def _small_emoji(data: Path, name: str) -> Iterator[Found]:
    for file in sorted((data / name / SMALL_EMOJI[name]).glob("*.png")):
        if not _SKIN_TONE.search(file.stem) and not held_out(file):
            yield _of_emoji(data, file.stem, file, name, file.stem)


def _flags(data: Path, name: str) -> Iterator[Found]:
    for icon, drawing in _svg(data, name).items():
        country = icon.removeprefix("cif-").removesuffix("-4x3")
        if re.fullmatch("[a-z]{2}", country):
            code = "-".join(f"{_REGIONAL_A + ord(letter) - ord('a'):x}" for letter in country)
            if not emoji_held_out(code):
                yield _of_emoji(data, icon, drawing, name, code)


def _icons(data: Path, name: str) -> Iterator[Found]:
    for icon, drawing in _svg(data, name).items():
        plain = icon.removeprefix("file-type-").removeprefix("light-").removesuffix("-icon").removesuffix("-original")
        if not re.search(r"-(?:light|dark|thin|fill|filled|outline|off|line|duotone|bold|wordmark)$", plain):
            yield Found(name, icon, drawing, f"icon:{plain}")


def _theme(data: Path, name: str) -> Iterator[Found]:
    root = data / name / "usr/share/icons" / THEMES[name][0]
    best: dict[str, tuple[int, Path]] = {}
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        if file.suffix in {".png", ".svg"} and not file.is_symlink() and not _NOT_PICTURES.search(path):
            size = 128 if "scalable" in path else max([int(found) for found in _SIZE.findall(path)], default=0)
            best[file.stem] = max(best.get(file.stem, (0, file)), (size if size <= LARGE else 1, file))
    for stem, (_, file) in best.items():
        yield Found(name, stem, file, f"theme:{stem}")


def _folder(data: Path, name: str) -> Iterator[Found]:
    root, most = data / name / FOLDERS[name][0], FOLDERS[name][2]
    by_folder: defaultdict[Path, list[Path]] = defaultdict(list)
    for file in sorted(root.rglob("*")):
        is_picture = file.suffix.lower() in SUFFIXES and file.is_file() and not file.is_symlink()
        if is_picture and not _NOT_PICTURES.search(file.as_posix()) and not held_out(file):
            by_folder[file.parent].append(file)
    for folder, files in by_folder.items():
        category = folder.relative_to(root).as_posix()
        kind = "" if category.startswith(NO_CATEGORY) else f"{name}:{category}"
        for file in _some(files, most, key=str):
            yield Found(name, file.relative_to(root).as_posix(), file, category=kind)


def _shared(found: list[Found], names: int) -> list[Found]:
    """Keep a limited number of the names that several artists have drawn."""
    hands: defaultdict[str, list[Found]] = defaultdict(list)
    for one in found:
        hands[one.concept].append(one)
    shared = [concept for concept, drawn in hands.items() if len({one.source for one in drawn}) >= MIN_HANDS]
    return [
        one
        for concept in _some(shared, names, key=str)
        for one in _some(hands[concept], MAX_HANDS, key=lambda one: one.source + one.concept)
    ]


def _some(of: list[_T], count: int, key: Callable[[_T], str]) -> list[_T]:
    """Choose at most ``count`` items, the same on every machine."""
    by_hash = sorted(of, key=lambda one: hashlib.sha256(key(one).encode()).digest())
    chosen = {id(one) for one in by_hash[:count]}
    return [one for one in of if id(one) in chosen]
