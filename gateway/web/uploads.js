// Adding pictures to the index, each with a card that tells how it goes.

import * as api from "./api.js";
import { byId, element } from "./dom.js";

const POLL_MS = 500;
const PATIENCE_MS = 60_000;
const cards = byId("uploads");
const pause = (duration) => new Promise((resolve) => setTimeout(resolve, duration));

/** Add files one after another. */
export async function addAll(files) {
  for (const [file, card] of Array.from(files, (file) => [file, makeCard(file)])) await addOne(file, card);
}

async function addOne(file, card) {
  card.say("Sending…");
  try {
    const { id } = await api.add(file);
    card.say("Indexing…");
    const known = await settled(id);
    if (known.status === "indexed") card.done(id);
    else if (known.status === "rejected") card.say(known.reason || "It was rejected.", true);
    else card.say(`Accepted as picture ${id}; it will be searchable when its turn comes.`);
  } catch (problem) {
    card.say(problem.message, true);
  }
}

async function settled(id) {
  const end = performance.now() + PATIENCE_MS;
  let known = await api.image(id);
  while (known.status === "pending" && performance.now() < end) {
    await pause(POLL_MS);
    known = await api.image(id);
  }
  return known;
}

function makeCard(file) {
  const url = URL.createObjectURL(file);
  const says = element("span", {}, "Waiting…");
  const close = () => {
    URL.revokeObjectURL(url);
    root.remove();
    cards.hidden = !cards.children.length;
  };
  const root = element("div", { class: "upload" },
    element("img", { src: url, alt: "", onerror: (event) => event.target.classList.add("broken") }),
    element("div", {}, element("b", {}, file.name), says),
    element("button", { type: "button", class: "round", "aria-label": `Dismiss ${file.name}`, onclick: close }, "×"));
  cards.append(root);
  cards.hidden = false;
  return {
    say(sentence, bad = false) {
      says.textContent = sentence;
      root.classList.toggle("bad", bad);
    },
    done(id) {
      says.replaceChildren("Indexed. ", element("a", { href: `#similar=${id}` }, "Show what is like it"));
    },
  };
}
