"""Pictures in archives: tar files, WebDataset shards and zip files, also hostile ones."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile
from itertools import islice

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


MEMORY_BYTES = 48 * 2**20
"""More than reading an archive takes, and less than any of these bombs expands to."""
BOMB_BYTES = 64 * 2**20


def peak_memory(path):
    """Return the most bytes that Python held while an archive's members were read, and what was said of it."""
    said = []
    tracemalloc.start()
    try:
        reader = source.reader_of(path)(path)
        for one in reader.members():
            said.append(one.refusal or len(reader.read()))
    except InvalidInput as error:
        said.append(str(error))
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak, said


def lying_zip(path, method, data):
    """Write a zip file whose member expands to ``data``, and says that it has a kilobyte."""
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.jpg", data)
    packed = bytearray(path.read_bytes())
    at = packed.find(b"PK\x01\x02")
    packed[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(packed)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_file_never_expands_to_more_than_it_says(tmp_path, method):
    path = lying_zip(tmp_path / "x.zip", method, bytes(BOMB_BYTES))
    peak, (said,) = peak_memory(path)
    assert peak < MEMORY_BYTES
    assert "damaged" in said or "with deflate" in said


async def test_members_that_are_compressed_otherwise_are_refused_and_the_others_are_used(world, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        for method in methods:
            file.writestr(f"{method}.jpg", jpeg(method), method)
    summary = await indexed(world, path)
    assert summary.indexed == 2
    assert set(reasons(summary)) == {"12.jpg", "14.jpg"}
    assert all("pack it anew with deflate" in reason for reason in reasons(summary).values())


SPARSE_MAP = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"


def header_bomb(kind):
    """Return the blocks of a tar file that tarfile reads whole before it yields a member."""
    zeros = bytes(BOMB_BYTES)
    entry = tarfile.TarInfo("a.jpg")
    if kind == "sparse":
        header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[482] = 1  # more of the map follows
        header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
        block = (b"%011o\0" % 1) * 42
        return bytes(header) + (block + b"\1" + bytes(7)) * (BOMB_BYTES // 512 // 8)
    if kind == "sparse map":
        extended = tarfile.TarInfo("x")
        extended.type, extended.size = tarfile.XHDTYPE, len(SPARSE_MAP)
        entry.size = BOMB_BYTES
        packed = SPARSE_MAP.ljust(512, b"\0")
        return extended.tobuf() + packed + entry.tobuf() + b"9999999\n" + b"1\n" * (BOMB_BYTES // 16)
    if kind == "chain":
        entry.type = tarfile.GNUTYPE_LONGNAME
        return entry.tobuf(tarfile.GNU_FORMAT) * 9999
    entry.type, entry.size = kind, -1 if kind == b"K" else BOMB_BYTES
    return entry.tobuf(tarfile.GNU_FORMAT) + zeros


BOMBS = [b"L", b"K", b"x", b"g", b"X", "sparse", "sparse map", "chain"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", BOMBS)
async def test_headers_of_a_tar_file_that_expand_without_end_are_not_read(world, tmp_path, kind, first):
    path = tmp_path / "x.tar.gz"
    picture = tarfile.TarInfo("a.jpg")
    picture.size = len(jpeg(1))
    with gzip.open(path, "wb") as file:
        if not first:
            file.write(picture.tobuf() + jpeg(1) + bytes(-picture.size % 512))
        file.write(header_bomb(kind))
    peak, said = peak_memory(path)
    assert peak < MEMORY_BYTES
    assert "without extended attributes" in said[-1] or "damaged" in said[-1]
    assert (await indexed(world, path)).indexed == (0 if first else 1)


def test_global_headers_of_a_tar_file_are_not_kept(tmp_path):
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb") as file:
        for number in range(BOMB_BYTES // 100_000):
            text = f"100000 {number}=".encode().ljust(99_999, b"v") + b"\n"
            header = tarfile.TarInfo("g")
            header.type, header.size = tarfile.XGLTYPE, len(text)
            file.write(header.tobuf() + text + bytes(-len(text) % 512) + tarfile.TarInfo(f"{number}.jpg").tobuf())
    peak, said = peak_memory(path)
    assert len(said) == BOMB_BYTES // 100_000
    assert peak < MEMORY_BYTES


def test_a_member_of_a_negative_size_ends_a_tar_file(tmp_path):
    path = tmp_path / "x.tar"
    entry = tarfile.TarInfo("a.jpg")
    entry.size = -1024
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) * 4 + bytes(1024))
    reader = source.reader_of(path)(path)
    with pytest.raises(InvalidInput, match="damaged"):
        list(islice(reader.members(), 9))
    reader.close()


async def test_long_names_and_extended_attributes_of_usual_size_are_read(world, tmp_path):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar.gz"
        with tarfile.open(path, "w:gz", format=form, pax_headers={"comment": "c" * 999}) as file:
            for number in range(3):
                add(file, f"{'n' * 200}/{number}.jpg", jpeg(number), pax_headers={"SCHILY.xattr.user.x": "v" * 60000})
        summary = await indexed(world, path)
        assert summary.indexed + summary.skipped == 3
