// Votes as a file: written for other programs, and read back.

import { Problem, request } from "./api.js";
import { element, find } from "./dom.js";
import { count } from "./format.js";
import { busily } from "./send.js";

const ENDINGS = { "text/csv": "csv", "application/json": "json" };

async function save(path, media) {
  const response = await fetch(`${path}/answers`, { headers: { Accept: media } });
  if (!response.ok) throw new Problem(await response.json());
  const address = URL.createObjectURL(await response.blob());
  element("a", { href: address, download: `votes-${path.split("/").pop()}.${ENDINGS[media]}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

async function read(path, event, changed) {
  event.preventDefault();
  const [file] = find("file").files;
  find("imported").textContent = "";
  await busily(event.target.querySelector("button"), async () => {
    const media = file.name.toLowerCase().endsWith(".json") ? "application/json" : "text/csv";
    const counts = await request(`${path}/answers`, { method: "POST", headers: { "Content-Type": media }, body: file });
    const words = Object.entries(counts).filter(([, number]) => typeof number === "number");
    find("imported").textContent = `Taken: ${words.map(([name, number]) => `${count(number)} ${name.replaceAll("_", " ")}`).join(", ")}.`;
    find("import").reset();
    changed();
  });
}

/** Begin: `path` of the annotation, and what to call after an import. */
export function setUpExchange(path, changed) {
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", () => busily(button, () => save(path, button.dataset.export)));
  }
  find("import").addEventListener("submit", (event) => read(path, event, changed));
}
