// One picture, large, with what is known of it.

import { contentAddress, image, putContent, putExplanation } from "./api.js";
import { byId, element } from "./dom.js";

const dialog = byId("detail");
let shown = null;

/** Call `listener` when the person closes the view. */
export function onClose(listener) {
  dialog.addEventListener("close", () => shown !== null && listener());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  byId("detail-close").addEventListener("click", () => dialog.close());
}

/** Open the view of a picture; `result` is the search result it was picked from, and `queryId` its search, if any. */
export async function show(id, result, queryId) {
  if (shown === id) return;
  shown = id;
  const picture = byId("detail-picture");
  picture.removeAttribute("src"); // the last one must not stand there while this one loads
  putContent(picture, id);
  picture.alt = `Picture ${id}`;
  byId("detail-title").textContent = `Picture ${id}`;
  byId("detail-similar").href = `#similar=${id}`;
  byId("detail-file").removeAttribute("href");
  contentAddress(id).then((url) => shown === id && byId("detail-file").setAttribute("href", url)).catch(() => null);
  byId("why").hidden = true;
  byId("detail-why").hidden = !queryId;
  byId("detail-why").onclick = () => why(queryId, id);
  list({ Status: "…" });
  if (!dialog.open) dialog.showModal();
  let known;
  try {
    known = facts(await image(id), result);
  } catch (problem) {
    known = { Status: problem.message };
  }
  if (shown === id) list(known);
}

/** Show which regions of the query and of this picture agree. */
async function why(queryId, id) {
  const [figure, picture, words] = ["why", "why-picture", "why-words"].map(byId);
  picture.hidden = true;
  picture.removeAttribute("src");
  figure.hidden = false;
  words.textContent = "Comparing…";
  try {
    await putExplanation(picture, queryId, id);
    if (shown !== id) return;
    picture.alt = "Your picture and this one, coloured where they agree";
    picture.hidden = false;
    words.textContent = "Left your picture, right this one: the redder, the more the two agree there.";
  } catch (problem) {
    if (shown === id) words.textContent = problem.message;
  }
}

export function hide() {
  shown = null;
  dialog.close();
}

function facts(known, result) {
  return {
    ...(result?.id === known.id && { Similarity: `${result.score.toFixed(4)}, rank ${result.rank}` }),
    Size: known.width ? `${known.width} × ${known.height} pixels` : "not known yet",
    Status: known.reason ? `${known.status}: ${known.reason}` : known.status,
    Added: new Date(known.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
    Source: known.uri,
  };
}

function list(pairs) {
  const rows = Object.entries(pairs).flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]);
  byId("detail-facts").replaceChildren(...rows);
}
