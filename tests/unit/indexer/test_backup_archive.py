"""A backup's folder: who can read it, and what is noticed when it is opened."""

import stat

import pytest

from indexer.maintenance.backup_archive import Archive, Manifest
from visualsearch.domain.errors import InvalidInput


@pytest.fixture
def finished(tmp_path):
    """A finished backup of one file."""
    archive = Archive.begin(tmp_path / "backup")
    archive.file("postgres", "images.copy.gz").write_bytes(b"rows")
    archive.finish(Manifest("now", "0001"), tmp_path / "backup")
    return tmp_path / "backup"


def test_only_its_owner_can_read_a_backup(finished):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in finished.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(finished.stat().st_mode) == 0o700


def test_it_stays_private_when_it_is_copied_to_an_open_folder(finished, tmp_path):
    opened = tmp_path / "opened"
    finished.rename(opened)
    opened.chmod(0o755)
    assert not any(path.stat().st_mode & 0o077 for path in opened.rglob("*") if path.is_file())


def test_an_unfinished_backup_has_not_its_name(tmp_path):
    Archive.begin(tmp_path / "backup")
    with pytest.raises(InvalidInput, match="is no backup"):
        Archive.open(tmp_path / "backup")


def test_a_changed_file_is_noticed(finished):
    (finished / "postgres" / "images.copy.gz").write_bytes(b"other rows")
    with pytest.raises(InvalidInput, match="missing or damaged"):
        Archive.open(finished)
