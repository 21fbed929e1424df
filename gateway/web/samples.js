// A few pictures of the corpus to begin with.

import * as api from "./api.js";
import { byId, element } from "./dom.js";

const COUNT = 12;
const ASKED = 18; // some ids belong to searches or to what was deleted

/** Fill the start view; where the corpus is empty or can't be asked, leave it as it is. */
export async function showSamples() {
  try {
    const { images } = await api.stats();
    const found = await Promise.all(spread(images?.indexed ?? 0).map((id) => api.image(id).catch(() => null)));
    const usable = found.filter((one) => one?.status === "indexed").slice(0, COUNT);
    byId("sample-list").replaceChildren(...usable.map(sample));
    byId("samples").hidden = !usable.length;
  } catch {
    byId("samples").hidden = true;
  }
}

/** Ids spread over the corpus, each time others; the first pictures indexed have the smallest ids. */
function spread(total) {
  const step = Math.max(1, total / ASKED);
  const ids = Array.from({ length: Math.min(ASKED, total) }, (_, index) => 1 + Math.floor((index + Math.random()) * step));
  return [...new Set(ids)].sort(() => Math.random() - 0.5);
}

function sample({ id }) {
  const picture = element("img", { alt: "", decoding: "async" });
  api.putContent(picture, id, 256);
  return element("a", { href: `#similar=${id}`, "aria-label": `Search with picture ${id}` }, picture);
}
