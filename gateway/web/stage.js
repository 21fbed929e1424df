// The person's picture, and the box on it. Cropper is loaded by a script tag of its own and is a global.

import { byId, element } from "./dom.js";

const stage = byId("stage");
const STEP = 0.04; // of the shorter side, for one arrow key
const MIN_BOX = 4; // pixels; a slip of the hand is no box

let cropper = null;
let changed = () => {};
let whole = [0, 0]; // width and height of the upright picture
let scale = 1; // its pixels for one of what is shown
let newest = null; // the picture that was asked for last; an earlier one may be decoded after it

/** Call `listener(box)` when the person has changed the box; box is `[x1, y1, x2, y2]` or null for the whole picture. */
export function onBox(listener) {
  changed = listener;
}

/**
 * Show a picture by its address; `box` is put on it. Resolves to false where the browser can't show it. `size` is the
 * width and height of the whole picture, where a thumbnail is shown in its place.
 */
export async function show(url, name, box, size = null) {
  clear();
  const picture = (newest = element("img", { src: url, alt: name }));
  try {
    await picture.decode();
  } catch {
    return false;
  }
  if (newest !== picture) return true;
  whole = size ?? [picture.naturalWidth, picture.naturalHeight];
  scale = whole[0] / picture.naturalWidth;
  stage.style.setProperty("--ratio", picture.naturalWidth / picture.naturalHeight);
  stage.replaceChildren(picture);
  cropper = new Cropper(picture, {
    // The browser has turned the picture upright already, so Cropper's coordinates are those of the upright picture.
    checkOrientation: false,
    checkCrossOrigin: false,
    autoCrop: false,
    background: false,
    guides: false,
    center: false,
    zoomable: false,
    movable: false,
    toggleDragModeOnDblclick: false,
    viewMode: 1,
    minContainerWidth: 20,
    minContainerHeight: 20,
    ready: () => setBox(box),
    cropend: () => changed(readBox()),
  });
  return true;
}

export function clear() {
  newest = null;
  cropper?.destroy();
  cropper = null;
  stage.replaceChildren();
}

/** Put a box on the picture, or take it away with null; tells nobody. */
export function setBox(box) {
  if (!cropper || String(box) === String(readBox())) return;
  if (!box) {
    cropper.clear();
    return;
  }
  cropper.crop();
  const [x1, y1, x2, y2] = box.map((number) => number / scale);
  cropper.setData({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
}

function readBox() {
  if (!cropper?.cropped) return null;
  const { x, y, width, height } = cropper.getData();
  const x1 = Math.max(0, Math.round(x * scale));
  const y1 = Math.max(0, Math.round(y * scale));
  const x2 = Math.min(whole[0], Math.round((x + width) * scale));
  const y2 = Math.min(whole[1], Math.round((y + height) * scale));
  return x2 - x1 >= MIN_BOX && y2 - y1 >= MIN_BOX ? [x1, y1, x2, y2] : null;
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function keyed(event) {
  if (!cropper || event.ctrlKey || event.metaKey || event.altKey) return;
  const { naturalWidth: wide, naturalHeight: high } = cropper.getImageData();
  if (event.key === "Enter") setBox([wide / 4, high / 4, (wide * 3) / 4, (high * 3) / 4].map((n) => n * scale));
  else if (event.key === "Escape") setBox(null);
  else if (ARROWS[event.key] && cropper.cropped) {
    const [dx, dy] = ARROWS[event.key].map((direction) => direction * Math.min(wide, high) * STEP);
    const { x, y, width, height } = cropper.getData();
    cropper.setData(event.shiftKey ? { x, y, width: width + dx, height: height + dy } : { x: x + dx, y: y + dy, width, height });
  } else return;
  event.preventDefault();
  changed(readBox());
}

stage.addEventListener("keydown", keyed);
