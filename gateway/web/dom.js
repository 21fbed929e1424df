// A few lines that spare the other modules createElement.

export const byId = (id) => document.getElementById(id);

/** Make an element: attributes by name, `on…` functions as listeners, `null` and `false` left out; then children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Show a sentence to the person; `calm` for what is no error. An empty sentence hides the notice. */
export function notice(sentence, calm = false) {
  const box = byId("notice");
  box.textContent = sentence;
  box.classList.toggle("calm", calm);
  box.hidden = !sentence;
}
