// A few pictures of the corpus to begin with.

import * as api from "./api.js";
import { byId, element } from "./dom.js";

const PLACES = 4;
const EACH = 3;

/** Fill the start view; where the corpus is empty or can't be asked, leave it as it is. */
export async function showSamples() {
  try {
    const { images } = await api.stats();
    const pages = await Promise.all(places(images?.indexed ?? 0).map((after) => api.images({ after, limit: EACH, status: "indexed" })));
    const usable = new Map(pages.flatMap((page) => page.images).map((one) => [one.id, one]));
    byId("sample-list").replaceChildren(...[...usable.values()].map(sample));
    byId("samples").hidden = !usable.size;
  } catch {
    byId("samples").hidden = true;
  }
}

/** Ids to begin at, spread over the corpus, each time others. The highest id is at least the number of pictures. */
function places(total) {
  return Array.from({ length: total ? PLACES : 0 }, (_, index) => Math.floor(((index + Math.random()) * total) / PLACES));
}

function sample({ id }) {
  const picture = element("img", { alt: "", decoding: "async" });
  api.putContent(picture, id, 256);
  return element("a", { href: `#similar=${id}`, "aria-label": `Search with picture ${id}` }, picture);
}
