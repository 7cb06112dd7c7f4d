// What people can say a feature is, and how their votes are drawn.

import { element } from "./dom.js";

export const KINDS = ["main_object", "separate_object", "background"];

/** "separate_object" -> "separate object". */
export const kindName = (kind) => kind.replaceAll("_", " ");

/** "2 main object, 1 background": votes in words. */
export const votesInWords = (votes) =>
  KINDS.filter((kind) => votes[kind] > 0)
    .map((kind) => `${votes[kind]} ${kindName(kind)}`)
    .join(", ") || "no answers";

/** A mark per vote, and one for each that is still wanted. */
export function voteMarks(votes, wanted) {
  const given = KINDS.flatMap((kind) => Array.from({ length: votes[kind] }, () => kind));
  const lacking = Array.from({ length: Math.max(0, wanted - given.length) }, () => "lacking");
  const words = lacking.length > 0 ? `${votesInWords(votes)}; ${lacking.length} wanted` : votesInWords(votes);
  return element(
    "span",
    { class: "votes", role: "img", "aria-label": words, title: words },
    ...[...given, ...lacking].map((kind) => element("span", { class: `vote ${kind}` })),
  );
}

/** A label as a badge: core or spurious, and of which kind. */
export function labelBadge({ label, kind }) {
  if (label === null || label === undefined) return element("span", { class: "badge source" }, "no label yet");
  const words = label === "spurious" && kind ? `spurious: ${kindName(kind)}` : label;
  return element("span", { class: `badge ${label}` }, words);
}
