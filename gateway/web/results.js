// The grid of results, and the line of facts above it.

import { putContent } from "./api.js";
import { byId, element, notice } from "./dom.js";

const grid = byId("grid");
const facts = byId("facts");
const SKELETONS = 12;
const THUMBNAIL = 256; // pixels; a thumbnail is drawn smaller, dense screens use the rest
const STAGES = ["decode", "embed", "ann", "rank"];

// Very wide or tall pictures would break the rows.
const ratio = (width, height) => Math.min(2.4, Math.max(0.6, width && height ? width / height : 1));
const name = (uri) => decodeURIComponent(uri.split("/").pop().replace(/%(?![\da-f]{2})/gi, "%25"));
const milliseconds = (value) => (value < 10 ? value.toFixed(1) : Math.round(value).toString());

/** Show that an answer is awaited: the old results faded, or placeholders where there are none. */
export function busy() {
  grid.setAttribute("aria-busy", "true");
  notice("");
  if (grid.querySelector(".tile:not(.skeleton)")) return;
  const ratios = Array.from({ length: SKELETONS }, (_, index) => [1.3, 0.8, 1, 1.5][index % 4]);
  grid.replaceChildren(...ratios.map((one) => element("li", { class: "tile skeleton", "--ratio": one, "aria-hidden": "true" })));
  facts.textContent = "Searching…";
}

/** Show a failure instead of results. */
export function failed(sentence) {
  grid.removeAttribute("aria-busy");
  grid.replaceChildren();
  facts.textContent = "";
  notice(sentence);
}

/**
 * Show an answer. `opened(id, result)` is called when a person picks a picture, `parted(leader, id)` when a person says
 * that a folded one is no duplicate of the one it is folded into.
 */
export function show(answer, opened, parted) {
  grid.removeAttribute("aria-busy");
  const tiles = (results) => results.map((result) => tile(result, opened, parted));
  const [good, others] = byScore(answer);
  const apart = others.length ? [element("li", { class: "apart" }, "Less similar")] : [];
  notice(verdict(answer, good), true);
  grid.replaceChildren(...tiles(good), ...apart, ...tiles(others));
  const count = answer.results.length;
  facts.replaceChildren(
    element("span", {}, element("strong", {}, `${count} ${count === 1 ? "picture" : "pictures"}`),
      ` in ${milliseconds(answer.latency_ms)} ms`),
    element("span", { class: "meter", "aria-hidden": "true" },
      ...STAGES.map((stage) => element("i", { class: stage, "--part": answer.timings_ms[stage] || 0 }))),
    element("span", { class: "stages" },
      ...STAGES.map((stage) => element("span", { class: stage }, `${stage} ${milliseconds(answer.timings_ms[stage] || 0)}`))),
    element("span", { class: "release", title: "The release that answered" }, answer.release),
  );
}

/** The results that are good matches, and the others: unrelated pictures are seldom as similar as the former. */
function byScore({ results, suggested_min_score: enough = -1 }) {
  return [results.filter(({ score }) => score >= enough), results.filter(({ score }) => score < enough)];
}

function verdict({ results }, good) {
  if (good.length) return "";
  if (results.length) return "No good match: nothing in the index looks much like it.";
  if (byId("min-score").value) return "Nothing in the index is that similar. Lower the similarity, or try another picture.";
  return "Nothing like it is in the index yet. Add some pictures, or try another one.";
}

function tile(result, opened, parted) {
  const folded = result.near_duplicates;
  const made = element("li", { class: "tile", "--ratio": ratio(result.width, result.height), "data-id": result.id });
  made.append(
    open(result.id, `${name(result.uri)}, rank ${result.rank}, similarity ${result.score.toFixed(3)}`, () => opened(result.id, result)),
    element("span", { class: "pill", title: `Cosine similarity ${result.score.toFixed(4)}`, "aria-hidden": "true" }, result.score.toFixed(3)),
    like(result.id),
  );
  if (folded.length) made.append(badge(made, folded, (id) => opened(id, result), (id) => parted(result.id, id)));
  return made;
}

function open(id, description, picked) {
  const picture = element("img", { alt: description, loading: "lazy", decoding: "async" });
  putContent(picture, id, THUMBNAIL);
  const clicked = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab: let the browser do it
    event.preventDefault();
    picked();
  };
  return element("a", { class: "open", href: `#similar=${id}`, onclick: clicked }, picture);
}

const like = (id) =>
  element("a", { class: "like", href: `#similar=${id}`, "aria-label": `Search on from picture ${id}`, title: "Search on from this" }, "≈");

/** A button with the number of folded near-duplicates; it lays them out behind their tile, and folds them again. */
function badge(owner, ids, opened, parted) {
  let shown = [];
  const words = `${ids.length} near-duplicate${ids.length === 1 ? "" : "s"}`;
  const toggled = () => {
    const unfold = !shown.length;
    shown.forEach((one) => one.remove());
    shown = unfold ? ids.map((id) => foldedTile(id, () => opened(id), () => parted(id))) : [];
    owner.after(...shown);
    button.setAttribute("aria-expanded", unfold);
    button.textContent = unfold ? "fold" : `+${ids.length}`;
  };
  const button = element("button", { type: "button", class: "badge", title: words, "aria-label": words, "aria-expanded": "false", onclick: toggled }, `+${ids.length}`);
  return button;
}

function foldedTile(id, picked, parted) {
  const words = `Picture ${id} is not a duplicate`;
  const part = element("button", { type: "button", class: "part", "aria-label": words, title: words, onclick: parted }, "not a duplicate");
  const made = element("li", { class: "tile folded", "data-id": id }, open(id, `Near-duplicate, picture ${id}`, picked), like(id), part);
  const picture = made.querySelector("img");
  picture.addEventListener("load", () => made.style.setProperty("--ratio", ratio(picture.naturalWidth, picture.naturalHeight)));
  return made;
}
