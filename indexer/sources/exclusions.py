"""Which files of a folder are left out, by patterns as in .gitignore."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path, PurePath

IGNORE_FILE = ".visualsearchignore"
DEFAULT_EXCLUDES = (
    ".*",
    # Thumbnails, snapshots and bins of NAS, Windows and Unix
    *("@eaDir/", "@tmp/", "\\#recycle/", "\\#snapshot/", "$RECYCLE.BIN/", "System Volume Information/", "lost+found/"),
    *("Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini"),
    # What packing and programs add
    *("__MACOSX/", "node_modules/", "bower_components/", "__pycache__/"),
    # Downloads that are not finished
    *("*.part", "*.partial", "*.crdownload"),
)


class Exclusions:
    """The patterns of one folder.

    The first of these that says anything about a path decides: the patterns of the command, the ignore files from the
    path's own folder upwards, the defaults. Within one of them the last pattern that matches decides, as in git.
    """

    def __init__(self, root: Path, patterns: Sequence[str] = ()) -> None:
        self._root = root
        self._command = Rules(patterns, "The command")
        self._defaults = Rules(DEFAULT_EXCLUDES, "The defaults")
        self._ignore_file = cache(_read_ignore_file)

    def pattern(self, path: Path, *, is_folder: bool) -> str | None:
        """Return the pattern that excludes a path below the root; None if none does.

        The folders above the path are not looked at. Raises ``InvalidInput`` for an ignore file with a malformed line.
        """
        for base, rules in self._rules(path):
            if (rule := rules.last_match(path.relative_to(base), is_folder=is_folder)) is not None:
                return str(rule) if rule.include else None
        return None

    def pattern_of_any(self, path: Path, *, is_folder: bool) -> str | None:
        """Return the pattern that excludes a path or a folder above it."""
        above = list(path.parents)
        folders = above[: above.index(self._root)] if self._root in above else []
        found = (self.pattern(one, is_folder=True) for one in reversed(folders))
        return next((one for one in found if one), None) or self.pattern(path, is_folder=is_folder)

    def _rules(self, path: Path) -> Iterator[tuple[Path, Rules]]:
        yield self._root, self._command
        for folder in path.parents:
            if (rules := self._ignore_file(folder)) is not None:
                yield folder, rules
            if folder == self._root:
                break
        yield self._root, self._defaults


class Rules:
    """Lines of a .gitignore, for a walk that does not enter excluded folders.

    A pattern therefore decides about what it names itself. What is inside an included folder can still be excluded.
    """

    def __init__(self, lines: Iterable[str], where: str) -> None:
        try:
            self._patterns = [one for one in map(GitIgnoreSpecPattern, lines) if one.include is not None]
        except ValueError as error:
            raise InvalidInput(f"{where} has a pattern that .gitignore cannot have: {error}.") from None

    def last_match(self, below: PurePath, *, is_folder: bool) -> GitIgnoreSpecPattern | None:
        """Return the last pattern that matches a path, which is relative to the folder of the lines."""
        end = "/" if is_folder else ""
        for pattern in reversed(self._patterns):
            # Only a slash before the end anchors a pattern; without one it names files and folders at any depth.
            is_anchored = "/" in str(pattern).rstrip("/")
            if pattern.match_file(f"{below.as_posix() if is_anchored else below.name}{end}") is not None:
                return pattern
        return None


def _read_ignore_file(folder: Path) -> Rules | None:
    file = folder / IGNORE_FILE
    try:
        lines = file.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    return Rules(lines, str(file))
