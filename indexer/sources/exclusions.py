"""Which files of a folder are left out, by patterns as in .gitignore."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

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
        self._rules = cache(self._rules_in)

    def pattern(self, folder: Path, name: str, *, is_folder: bool) -> str | None:
        """Return the pattern that excludes what has this name in a folder at or below the root; None if none does.

        The folder itself is not looked at. Raises ``InvalidInput`` for an ignore file with a malformed line.
        """
        for base, rules in self._rules(folder):
            if (rule := rules.last_match(base, folder, name, is_folder=is_folder)) is not None:
                return str(rule) if rule.include else None
        return None

    def pattern_of_any(self, path: Path, *, is_folder: bool) -> str | None:
        """Return the pattern that excludes a path or a folder between the root and it."""
        above = [one for one in reversed(path.parents) if one != self._root and one.is_relative_to(self._root)]
        for folder in above:
            if pattern := self.pattern(folder.parent, folder.name, is_folder=True):
                return pattern
        return self.pattern(path.parent, path.name, is_folder=is_folder)

    def _rules_in(self, folder: Path) -> list[tuple[Path, Rules]]:
        """Return the rules for what is in a folder, each with the folder that its patterns are relative to."""
        within = [one for one in (folder, *folder.parents) if one.is_relative_to(self._root)]
        files = [(one, rules) for one in within if (rules := _read_ignore_file(one)) is not None]
        return [(self._root, self._command), *files, (self._root, self._defaults)]


class Rules:
    """Lines of a .gitignore, for a walk that does not enter excluded folders.

    A pattern therefore decides about what it names itself. What is inside an included folder can still be excluded.
    """

    def __init__(self, lines: Iterable[str], where: str) -> None:
        try:
            patterns = [one for one in map(GitIgnoreSpecPattern, lines) if one.include is not None]
        except ValueError as error:
            raise InvalidInput(f"{where} has a pattern that .gitignore cannot have: {error}.") from None
        # Only a slash before the end anchors a pattern; without one it names files and folders at any depth.
        self._patterns = [(one, "/" in str(one).rstrip("/")) for one in reversed(patterns)]

    def last_match(self, base: Path, folder: Path, name: str, *, is_folder: bool) -> GitIgnoreSpecPattern | None:
        """Return the last pattern that matches what has this name in a folder. ``base`` is the folder of the lines."""
        name = f"{name}/" if is_folder else name
        for pattern, is_anchored in self._patterns:
            below = (folder.relative_to(base) / name).as_posix() if is_anchored else name
            if is_anchored and is_folder:
                below += "/"
            if pattern.match_file(below) is not None:
                return pattern
        return None


def _read_ignore_file(folder: Path) -> Rules | None:
    file = folder / IGNORE_FILE
    try:
        lines = file.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    return Rules(lines, str(file))
