"""A browser as an oracle: how Chromium shows picture files."""

import base64
from io import BytesIO

from PIL import Image
from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DRAW = """async (files) => Promise.all(files.map(async ([data, backdrop]) => {
  const image = new Image();
  const shown = new Promise((done) => { image.onload = () => done(true); image.onerror = () => done(false); });
  image.src = "data:image/unknown;base64," + data;
  if (!await shown) return null;
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.fillStyle = backdrop;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const file = await canvas.convertToBlob();
  return new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(file);
  });
}))"""


def drawn(chromium: str, files: list[tuple[bytes, str]]) -> list[Image.Image | None]:
    """Return each picture file as Chromium draws it on a colour, in RGB and upright; None if it shows nothing."""
    asked = [(base64.b64encode(data).decode(), backdrop) for data, backdrop in files]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, "--force-color-profile=srgb"])
        answers = browser.new_page().evaluate(DRAW, asked)
        browser.close()
    return [answer and Image.open(BytesIO(base64.b64decode(answer))).convert("RGB") for answer in answers]
