"""`visualsearch index s3://...`: which buckets are read."""

import pytest

from cli import index as index_command
from cli.folder_indexing import FolderOptions
from visualsearch.domain.errors import InvalidInput


@pytest.mark.parametrize("name", ["images\\", "images%2F", "images?x=", "Images", ""])
def test_a_bucket_whose_name_none_can_have_is_refused_before_a_connection(monkeypatch, name):
    monkeypatch.setattr(index_command, "with_indexing_stores", lambda work: pytest.fail("connected"))
    with pytest.raises(InvalidInput, match="no bucket's name"):
        index_command._index_bucket(f"{name}/uploads/", FolderOptions())


@pytest.mark.parametrize("prefix", ["uploads\\", "a//", "../images/uploads/", "a\nb"])
def test_a_prefix_that_no_key_can_begin_with_is_refused_before_a_connection(monkeypatch, prefix):
    monkeypatch.setattr(index_command, "with_indexing_stores", lambda work: pytest.fail("connected"))
    with pytest.raises(InvalidInput, match="no name for an object"):
        index_command._index_bucket(f"images/{prefix}", FolderOptions())


@pytest.mark.parametrize("what", ["images", "images/", "images/2024/", "images/2024/ma"])
def test_other_names_and_prefixes_are_used(monkeypatch, what):
    monkeypatch.setattr(index_command, "with_indexing_stores", lambda work: "indexed")
    assert index_command._index_bucket(what, FolderOptions()) == "indexed"
