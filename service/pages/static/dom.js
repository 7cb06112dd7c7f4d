// Elements from data. Text from elsewhere only ever becomes text nodes, never markup.

/** The element of the page with this id. */
export const find = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {Object<string, *>} attributes set as attributes; functions become listeners ("click"); false and null are left out
 * @param {...(Node|string|number|null)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Choices of a <select>, each {value, label}; keeps what was chosen where it is still on offer. */
export function offer(select, choices) {
  const before = select.value;
  select.replaceChildren(...choices.map(({ value, label }) => element("option", { value }, label)));
  if (choices.some(({ value }) => value === before)) select.value = before;
}

/** Show what went wrong and what to do about it in the page's alert; null takes it away. */
export function showProblem(problem) {
  const place = find("problem");
  if (problem === null) return place.replaceChildren();
  place.replaceChildren(
    element(
      "div",
      { class: "problem" },
      element("strong", {}, problem.title),
      element("p", {}, problem.detail),
      problem.remedy ? element("p", {}, problem.remedy) : null,
      problem.instance ? element("p", { class: "muted" }, `Request ${problem.instance}`) : null,
    ),
  );
  place.scrollIntoView({ block: "nearest" });
}
