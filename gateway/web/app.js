// The page: what is asked stands in the address, so that back and forward work; everything else follows from it.
//   #                      the start
//   #query=1               a picture that the person gave (kept in memory: after a reload it is gone)
//   #similar=12            a picture of the corpus
//   …&box=1,2,30,40        with a box on it
//   …&image=34             with the detail view of one result open

import * as api from "./api.js";
import * as detail from "./detail.js";
import { byId, notice } from "./dom.js";
import { onKey } from "./key.js";
import * as results from "./results.js";
import { showSamples } from "./samples.js";
import * as stage from "./stage.js";
import { addAll } from "./uploads.js";

const BOX_DELAY_MS = 250;
const THUMBNAIL = 2048; // the largest longer side that the gateway makes
const HINT = "Drag on the picture to search with a part of it.";

const given = new Map(); // number of a query -> the person's file
let asked = ""; // the search that is shown or under way
let staged = ""; // the picture that is on the stage
let stagedUrl = null;
let answer = null;
let picked = null; // the result that the detail view was opened from
let running = new AbortController();

const route = () => new URLSearchParams(location.hash.slice(1));
const wish = () => ({ k: Number(byId("k").value), collapse: byId("collapse").checked, minScore: minScore() });

/** The lowest score that the person wants; null for any, and for what is no such number. */
function minScore() {
  const { value, validity } = byId("min-score");
  return value && !validity.rangeUnderflow && !validity.rangeOverflow ? Number(value) : null;
}

function boxOf(params) {
  const numbers = (params.get("box") ?? "").split(",").map(Number);
  return numbers.length === 4 && numbers.every(Number.isSafeInteger) ? numbers : null;
}

/** Change parts of the address; null removes one. */
function go(changes, replace = false) {
  const params = route();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) params.delete(name);
    else params.set(name, value);
  }
  const hash = `#${params.toString().replaceAll("%2C", ",")}`;
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState({ before: location.hash }, "", hash);
  follow();
}

/** Make the page show what the address says. */
function follow() {
  const params = route();
  const id = params.get("similar");
  const file = given.get(params.get("query"));
  const start = !file && !/^\d+$/.test(id ?? "");
  document.body.dataset.view = start ? "start" : "search";
  if (start) {
    leave();
    return;
  }
  const box = boxOf(params);
  put(file, id, box);
  ask(file, id, box);
  const image = params.get("image");
  if (/^\d+$/.test(image ?? "")) detail.show(Number(image), picked, picked && answer?.query_image_id);
  else detail.hide();
}

function leave() {
  running.abort();
  asked = staged = "";
  stage.clear();
  detail.hide();
  document.title = "visual-search";
  if (byId("samples").hidden) showSamples();
}

/** Put the picture on the stage, and the box on the picture. */
async function put(file, id, box) {
  const key = file ? `query=${route().get("query")}` : `similar=${id}`;
  byId("whole").hidden = !box;
  byId("stage-hint").textContent = box ? `Searching with ${box[2] - box[0]} × ${box[3] - box[1]} pixels of it.` : HINT;
  if (staged === key) {
    stage.setBox(box);
    return;
  }
  staged = key;
  byId("stage").hidden = false;
  scrollTo(0, 0);
  document.title = `${file?.name ?? `Picture ${id}`} · visual-search`;
  if (stagedUrl) URL.revokeObjectURL(stagedUrl);
  stagedUrl = file ? URL.createObjectURL(file) : null;
  const address = stagedUrl ?? (await api.contentAddress(id).catch(() => ""));
  if (staged !== key) return;
  const name = file?.name ?? `Picture ${id}`;
  const shown = (await stage.show(address, name, box)) || (!file && staged === key && (await putThumbnail(id, name, box)));
  if (staged !== key) return;
  byId("stage").hidden = !shown;
  if (!shown) byId("stage-hint").textContent = "This browser can't show the picture.";
}

/** Put the thumbnail of a picture on the stage whose file browsers don't show, such as HEIC or TIFF. */
async function putThumbnail(id, name, box) {
  try {
    const [address, { width, height }] = await Promise.all([api.contentAddress(id, THUMBNAIL), api.image(id)]);
    return await stage.show(address, name, box, [width, height]);
  } catch {
    return false;
  }
}

/** Run the search unless it is the one already shown. The answer of a search that was overtaken is dropped. */
async function ask(file, id, box) {
  const key = JSON.stringify([route().get("query"), id, box, wish()]);
  if (key === asked) return;
  asked = key;
  running.abort();
  const { signal } = (running = new AbortController());
  results.busy();
  try {
    const found = await find(file, id, box, signal);
    if (signal.aborted) return;
    answer = found;
    results.show(found, open, part);
  } catch (problem) {
    if (signal.aborted) return;
    asked = ""; // the same again is a new try
    results.failed(problem.message);
  }
}

async function find(file, id, box, signal) {
  if (!file && !box) return api.similar(id, wish(), signal);
  return api.search(file ?? (await api.contentFile(id, signal)), box, wish(), signal);
}

function open(id, result) {
  picked = result;
  api.click(answer.query_image_id, id, result.rank);
  go({ image: id });
}

/** The person says that a picture is no duplicate of the one it is folded into: ask anew, now it stands alone. */
async function part(leader, id) {
  try {
    await api.notDuplicates(leader, id);
  } catch (problem) {
    notice(problem.message);
    return;
  }
  asked = "";
  follow();
}

/** Show everything anew, with another key. */
function again() {
  asked = staged = "";
  follow();
}

/** The detail view was closed: step back where it was opened from here, so that "back" doesn't open it again. */
function closed() {
  if (history.state?.before !== undefined) history.back();
  else go({ image: null }, true);
}

/** Search with a file of the person's. */
function take(file) {
  if (!file) return;
  const number = String(given.size + 1);
  given.set(number, file);
  go({ query: number, similar: null, box: null, image: null });
}

function listen() {
  let later = 0;
  stage.onBox((box) => {
    clearTimeout(later);
    later = setTimeout(() => go({ box: box?.join() ?? null }, route().has("box")), BOX_DELAY_MS);
  });
  detail.onClose(closed);
  onKey(again);
  byId("whole").addEventListener("click", () => go({ box: null }));
  byId("wishes").addEventListener("change", follow);
  byId("wishes").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => byId("query-file").click());
  }
  byId("query-file").addEventListener("change", ({ target }) => {
    take(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  byId("add").addEventListener("click", () => byId("add-files").click());
  byId("add-files").addEventListener("change", async ({ target }) => {
    const files = [...target.files];
    target.value = ""; // the same files may be chosen again
    await addAll(files);
  });
  addEventListener("popstate", follow);
  addEventListener("paste", (event) => take(event.clipboardData?.files[0]));
  listenToDrops();
}

function listenToDrops() {
  const root = document.documentElement;
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    root.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && root.classList.remove("dragging"));
  addEventListener("drop", (event) => {
    root.classList.remove("dragging");
    if (!hasFile(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
}

listen();
follow();
