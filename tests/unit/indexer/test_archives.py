"""Pictures in archives: tar files, WebDataset shards and zip files, also hostile ones."""

import io
import stat
import tarfile
import zipfile

import pytest

from indexer.sources.archives import member, source
from indexer.sources.archives.source import Archives, is_archive
from indexer.sources.bulk import index_all
from indexer.sources.shards import expand
from tests.pictures import jpeg
from tests.unit.indexing import working
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import MAX_UPLOAD_BYTES

FORMATS = ["x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.zip"]
PICTURES = {"a.jpg": jpeg(1), "sub/b ü.jpg": jpeg(2), "./c.jpg": jpeg(3)}


def pack(path, members):
    """Write an archive of members: name to bytes."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            add(file, name, data)
    return path


def add(file, name, data=b"", **fields):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for field, value in fields.items():
        setattr(entry, field, value)
    file.addfile(entry, io.BytesIO(data))


async def indexed(world, *paths, patterns=()):
    archives = Archives({path: "set/" if len(paths) == 1 else f"set/{path.name}/" for path in paths}, patterns)
    totals = []
    try:
        async with working(world):
            summary = await index_all(
                archives,
                world.object_store,
                world.image_repository,
                world.events,
                on_progress=lambda counts: totals.append((counts.total, counts.done)),
            )
    finally:
        archives.close()
    assert totals[-1][0] == totals[-1][1]  # every member has one outcome
    return summary


def reasons(summary):
    return {name.rsplit("/", 1)[1]: reason for name, reason in summary.rejected}


@pytest.mark.parametrize("name", FORMATS)
async def test_an_archive_is_indexed_once_and_skipped_the_next_time(world, tmp_path, name):
    path = pack(tmp_path / name, PICTURES | {"sub/b.json": b"{}", "notes.txt": b"x"})
    first = await indexed(world, path)
    again = await indexed(world, path)
    assert (first.indexed, first.skipped, first.rejected) == (3, 0, [])
    assert (again.indexed, again.skipped) == (0, 3)
    assert sum(first.no_pictures.counts.values()) == 2
    assert sorted(world.object_store.objects) == ["set/a.jpg", "set/c.jpg", "set/sub/b ü.jpg"]
    assert {image.source for image in world.image_repository.images.values()} == {"set"}


async def test_the_shards_of_a_webdataset_are_indexed_one_after_the_other(world, tmp_path):
    names = expand(str(tmp_path / "shard-{000..002}.tar"))
    paths = [tmp_path / name for name in names]
    for number, path in enumerate(paths):
        samples = {
            f"{n:04}.{end}": data for n in range(3) for end, data in (("cls", b"7"), ("jpg", jpeg(10 * number + n)))
        }
        pack(path, samples)
    summary = await indexed(world, *paths)
    assert (summary.indexed, summary.no_pictures.counts[".cls"]) == (9, 9)
    assert "set/shard-002.tar/0002.jpg" in world.object_store.objects


async def test_more_members_than_fit_a_page_or_a_chunk_are_all_indexed(world, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "PAGE", 2)
    monkeypatch.setattr("indexer.sources.bulk.CHUNK", 3)
    path = pack(tmp_path / "x.tar.gz", {f"{number}.jpg": jpeg(number) for number in range(8)})
    assert (await indexed(world, path)).indexed == 8


async def test_one_member_at_a_time_is_in_memory(world, tmp_path):
    """A tar file's headers are not kept, and a member is read only when it is wanted."""
    path = pack(tmp_path / "x.tar", {f"{number}.jpg": jpeg(number) for number in range(5)})
    archives = Archives({path: "set/"})
    (items,) = [page async for page in archives.pages()]
    for item in items:
        await archives.read(item)
        assert len(archives._cursor._open._tar.members) == 0
    assert await archives.read(items[1]) == jpeg(1)  # going back is possible
    archives.close()


TRAVERSALS = ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "a\\..\\..\\x.jpg"]


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
async def test_names_that_lead_out_of_the_archive_are_refused(world, tmp_path, name):
    path = pack(tmp_path / name, {traversal: jpeg(n) for n, traversal in enumerate(TRAVERSALS)} | {"a.jpg": jpeg(9)})
    summary = await indexed(world, path)
    found = [one for one in world.object_store.objects if one.startswith("set/")]
    assert len(found) == len(world.object_store.objects) == summary.indexed
    assert len(summary.rejected) + summary.indexed == 5
    assert sum("leads out" in reason for _, reason in summary.rejected) >= 3
    assert {one.name for one in tmp_path.iterdir()} == {name}


async def test_links_and_devices_in_a_tar_file_are_refused(world, tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as file:
        add(file, "a.jpg", jpeg(1))
        add(file, "link.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(file, "hard.jpg", type=tarfile.LNKTYPE, linkname="a.jpg")
        add(file, "device.jpg", type=tarfile.CHRTYPE)
        add(file, "folder", type=tarfile.DIRTYPE)
        add(file, "b.jpg", jpeg(2))
    summary = await indexed(world, path)
    assert summary.indexed == 2
    found = reasons(summary)
    assert "link" in found["link.jpg"]
    assert "link" in found["hard.jpg"]
    assert "no regular file" in found["device.jpg"]


async def test_links_and_encrypted_members_of_a_zip_file_are_refused(world, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("locked.jpg", jpeg(1))
        file.writestr("folder\\b.jpg", jpeg(2))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"locked.jpg"))
    data[at + 8] |= 1
    path.write_bytes(data)
    summary = await indexed(world, path)
    assert summary.indexed == 1
    assert "set/folder/b.jpg" in world.object_store.objects
    assert "link" in reasons(summary)["link.jpg"]
    assert "encrypted" in reasons(summary)["locked.jpg"]


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.xz", "x.zip"])
async def test_a_member_that_expands_to_more_than_a_picture_may_have_is_not_read(world, tmp_path, name):
    path = pack(tmp_path / name, {"bomb.jpg": bytes(MAX_UPLOAD_BYTES + 1), "a.jpg": jpeg(1)})
    summary = await indexed(world, path)
    assert summary.indexed == 1
    assert "bytes" in reasons(summary)["bomb.jpg"]


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip"])
async def test_an_archive_that_expands_without_end_is_left_there(world, tmp_path, monkeypatch, name):
    monkeypatch.setattr(member, "EXPANDED_BYTES", 2**20)
    path = pack(tmp_path / name, {"a.jpg": jpeg(1)} | {f"{n}.jpg": bytes(2**20) for n in range(99)})
    summary = await indexed(world, path)
    assert summary.indexed == 1
    assert "100 times its size" in reasons(summary)[name]


async def test_a_zip_file_that_lies_about_sizes_is_refused_member_by_member(world, tmp_path):
    path = pack(tmp_path / "x.zip", {"a.jpg": bytes(2**20), "b.jpg": jpeg(1)})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    summary = await indexed(world, path)
    assert summary.indexed == 1
    assert "damaged" in reasons(summary)["a.jpg"]


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.xz"])
async def test_what_comes_before_the_end_of_a_cut_archive_is_indexed(world, tmp_path, name):
    path = pack(tmp_path / name, {f"{number}.jpg": jpeg(number) for number in range(9)})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    summary = await indexed(world, path)
    assert 0 < summary.indexed < 9 or name == "x.tar.xz"
    assert any("cut off" in reason for _, reason in summary.rejected)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_file_that_is_no_archive_is_refused_with_its_reason(world, tmp_path, name):
    for data in (b"", b"no archive" * 1000):
        (tmp_path / name).write_bytes(data)
        summary = await indexed(world, tmp_path / name)
        assert "damaged" in reasons(summary)[name]


async def test_a_name_that_comes_twice_is_indexed_once_and_reported(world, tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as file:
        add(file, "a.jpg", jpeg(1))
        add(file, "./a.jpg", jpeg(2))
    summary = await indexed(world, path)
    assert summary.indexed == 1
    assert "same key" in reasons(summary)["a.jpg"]


async def test_names_that_no_key_can_have_are_renamed(world, tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        add(file, b"latin\xe9.jpg".decode(errors="surrogateescape"), jpeg(1))
        add(file, "line\nbreak.jpg", jpeg(2))
    summary = await indexed(world, path)
    assert (summary.indexed, len(summary.renamed)) == (2, 2)


async def test_what_programs_add_to_archives_is_left_out_and_counted(world, tmp_path):
    added = {"__MACOSX/._a.jpg": b"x", ".hidden/b.jpg": jpeg(2), "raw/c.jpg": jpeg(3)}
    path = pack(tmp_path / "x.zip", {"a.jpg": jpeg(1)} | added)
    archives = Archives({path: "set/"}, ["raw/"])
    assert [item.key for page in [page async for page in archives.pages()] for item in page] == ["set/a.jpg"]
    assert archives.omissions.excluded == {"__MACOSX/": 1, ".*": 1, "raw/": 1}
    assert (await indexed(world, path, patterns=["!.*"])).indexed == 3


def test_archives_are_told_by_their_names(tmp_path):
    assert all(is_archive(tmp_path / name) for name in (*FORMATS, "X.TAR.GZ"))
    assert not is_archive(tmp_path / "tar.jpg")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{08..11}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("s-{8..10}.tar", ["s-8.tar", "s-9.tar", "s-10.tar"]),
        ("{b,a}-{1..2}", ["b-1", "b-2", "a-1", "a-2"]),
        ("{x}.tar", ["{x}.tar"]),
    ],
)
def test_numbered_names_are_expanded(pattern, names):
    assert expand(pattern) == names


def test_too_many_names_are_refused():
    for pattern in ("{0..99999999999}", "{1..9999}{1..9999}"):
        with pytest.raises(InvalidInput, match="fewer at once"):
            expand(pattern)
