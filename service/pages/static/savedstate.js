// Whether all answers have arrived, in words that can be trusted.

import { find } from "./dom.js";

const answers = (number) => (number === 1 ? "1 answer" : `${number} answers`);

/** Show how many answers wait, and why. */
export function showSaved(outbox) {
  const waiting = outbox.items.length;
  const { problem } = outbox;
  const away = problem !== null && waiting > 0;
  const state = away ? "waiting" : waiting > 0 ? "sending" : "saved";
  find("saved").hidden = false;
  find("saved").dataset.state = state;
  find("send").hidden = !away || outbox.refused;
  const words = { saved: "All answers saved", sending: "Saving…", waiting: away ? wordsOf(waiting, outbox) : "" }[state];
  if (find("saved-words").textContent !== words) find("saved-words").textContent = words;
}

function wordsOf(waiting, { problem, refused }) {
  const kept = `${answers(waiting)} kept on this device`;
  if (refused) return `This link is not taken any more: ${kept}, not sent.`;
  if (problem.status === undefined) return `No connection to the service: ${kept}, sent again until it answers.`;
  return `The service cannot save at the moment: ${kept}, sent again until it can.`;
}
