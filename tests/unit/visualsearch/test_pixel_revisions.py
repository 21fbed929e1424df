"""An upgrade changes the pixels of unusual pictures only, and a release says which ones it was built of."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms
from rich.console import Console

from cli.release_tables import standings_table
from tests.odd_pictures import profiles
from tests.pictures import encoded, noise
from tests.reference_pictures import PICTURES, sample
from tests.unit.releases import NEW, OLD, Shop
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.domain.releases import PIXEL_REVISION, ReleaseState
from visualsearch.imaging.preprocessing import decode
from visualsearch.releases.active_releases import new_release

WIDE = profiles.rgb_profile(profiles.P3, profiles.SRGB_CURVE)
PRINT = "a" * 64


def first_revision(data: bytes) -> np.ndarray:
    """The pixels of an upright picture as the first revision made them."""
    image = Image.open(BytesIO(data))
    keep = IMAGE_SIDE / min(image.size)
    image.draft(None, (int(image.width * keep) + 1, int(image.height * keep) + 1))
    smooth = image.convert("RGBA" if image.has_transparency_data else "RGB") if image.mode != "L" else image
    small = smooth.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    small = small.convert("RGB")
    if profile := image.info.get("icc_profile"):
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        small = ImageCms.profileToProfile(small, source, ImageCms.createProfile("sRGB"))
    return np.asarray(small)


ORDINARY = {
    "JPEG": encoded(noise(1, 1200, 900), quality=90),
    "progressive JPEG": encoded(noise(2, 640, 480), quality=80, progressive=True),
    "grey JPEG": encoded(noise(3).convert("L")),
    "JPEG in Display P3": encoded(noise(4), icc_profile=WIDE),
    "PNG": encoded(noise(5), "PNG"),
    "PNG with a palette": encoded(noise(6).quantize(60), "PNG"),
    "WebP": encoded(noise(7), "WEBP"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_pictures_are_what_they_were_bit_by_bit(name):
    assert np.array_equal(decode(ORDINARY[name]).pixels, first_revision(ORDINARY[name]))


def test_so_are_those_of_the_demo_although_half_are_transparent():
    for name in sample():
        data = (PICTURES / name).read_bytes()
        assert np.array_equal(decode(data).pixels, first_revision(data)), name


def test_a_new_release_records_its_encoder_and_the_present_pixels():
    release = new_release(1, PRINT, "hnsw", {})
    assert (release.encoder_fingerprint, release.pixel_revision) == (PRINT, PIXEL_REVISION)
    assert new_release(1, "", "hnsw", {}).fingerprint == ""


def test_a_release_of_before_has_the_first_revision():
    assert (OLD.encoder_fingerprint, OLD.pixel_revision) == (OLD.fingerprint, 1)


async def test_the_list_of_releases_says_which_to_build_anew():
    shop = await Shop().open()
    await shop.log.add(new_release(3, PRINT, "hnsw", {}), ReleaseState.READY)
    console = Console(width=400)
    with console.capture() as shown:
        console.print(standings_table(await shop.log.records()))
    lines = {line.split()[1]: line for line in shown.get().splitlines() if "aaaa" in line}
    assert "built of pixels of revision 1, now 2: build it anew" in lines[OLD.name]
    assert "revision" not in lines["v3_hnsw"]
    assert NEW.name not in lines
