// The REST interface, as this page uses it.

import { headers as keyHeaders, key, needKey } from "./key.js";

const MAX_UPLOAD_BYTES = 20 * 1024 * 1024;
const USER_KEY = "visual-search.user_id";
const ROOT = new URL("..", import.meta.url).pathname.slice(0, -1); // where the gateway is served: "", or a path such as "/vs"

/** Something went wrong; the message is a sentence for a person. */
export class Problem extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** A random number below 2^53 that stands for this browser in the interaction log. */
function userId() {
  try {
    let known = Number(localStorage.getItem(USER_KEY));
    if (!Number.isSafeInteger(known) || known <= 0) {
      const [high, low] = crypto.getRandomValues(new Uint32Array(2));
      known = (high & 0x1fffff) * 2 ** 32 + low || 1;
      localStorage.setItem(USER_KEY, String(known));
    }
    return known;
  } catch {
    return 1; // storage is forbidden: everybody such is one user
  }
}

export const user = userId();

async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(ROOT + path, { ...options, headers: { ...keyHeaders(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server can't be reached. Check the connection and try again.", 0);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) needKey(problem.detail || "This gateway asks for an API key.");
  throw new Problem(problem.detail || `The server answered ${response.status}. Try again in a moment.`, response.status);
}

async function call(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

function form(file, fields) {
  if (file.size > MAX_UPLOAD_BYTES) {
    throw new Problem(`The picture has ${(file.size / 2 ** 20).toFixed(1)} MB; 20 MB are the limit. Send a smaller one.`, 413);
  }
  const body = new FormData();
  body.set("image", file, file.name || "picture");
  for (const [name, value] of Object.entries(fields)) if (value !== null) body.set(name, value);
  return body;
}

const wishFields = ({ k, collapse, minScore }) => ({
  k,
  near_duplicates: collapse ? "collapse" : "keep",
  user_id: user,
  ...(minScore !== null && { min_score: minScore }),
});

/** Search with a file, or with a box `[x1, y1, x2, y2]` of it in pixels of the upright picture. */
export async function search(file, box, wish, signal) {
  const body = form(file, { ...wishFields(wish), bbox: box ? box.join() : null });
  return call("/search", { method: "POST", body, signal });
}

/** Search with a picture of the corpus. */
export const similar = (id, wish, signal) =>
  call(`/images/${id}/similar?${new URLSearchParams(wishFields(wish))}`, { signal });

export const add = async (file) => call("/images", { method: "POST", body: form(file, {}) });
export const image = (id, signal) => call(`/images/${id}`, { signal });
/** A page of the corpus, in the order of ids. */
export const images = (wanted) => call(`/images?${new URLSearchParams(wanted)}`);
export const stats = () => call("/stats");

/** Tell that a result was clicked. It outlives the page, and the person needn't hear of a failure. */
export function click(queryId, shownId, rank) {
  const body = JSON.stringify({ user_id: user, query_image_id: queryId, displayed_image_id: shownId, rank });
  const headers = { "Content-Type": "application/json" };
  return call("/click", { method: "POST", body, headers, keepalive: true }).catch(() => null);
}

/** Say that two pictures are no duplicates of each other. */
export function notDuplicates(one, other) {
  const body = JSON.stringify({ image_ids: [one, other] });
  return call("/not-duplicates", { method: "POST", body, headers: { "Content-Type": "application/json" } });
}

const contentUrl = (id, size) => `/images/${id}/content${size ? `?size=${size}` : ""}`;
const explainUrl = (queryId, id) => `/explain?query_image_id=${queryId}&image_id=${id}&format=png`;

/** An address for a picture of the gateway; the browser itself can't send a key, so with one it is fetched here. */
async function address(path) {
  if (!key()) return ROOT + path;
  return URL.createObjectURL(await (await send(path)).blob());
}

/** Let an `img` show a picture of the gateway. Resolves when it is there; a failure is the image's to show. */
async function put(image, path) {
  image.dataset.path = path;
  const url = await address(path).catch(() => null);
  if (image.dataset.path !== path) return; // another one was asked for meanwhile
  if (url?.startsWith("blob:")) image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url ?? ROOT + path;
}

export const putContent = (image, id, size) => put(image, contentUrl(id, size));

/** Let an `img` show why a picture was found. Raises `Problem`. */
export async function putExplanation(image, queryId, id) {
  const response = await send(explainUrl(queryId, id));
  image.src = URL.createObjectURL(await response.blob());
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
}

/** The address of a picture of the corpus, as it was uploaded, or of its thumbnail. */
export const contentAddress = (id, size) => address(contentUrl(id, size));

/** A picture of the corpus as a file, to search with a box of it. */
export async function contentFile(id, signal) {
  const response = await send(contentUrl(id), { signal });
  return new File([await response.blob()], `picture-${id}`);
}
