// The reasons an annotator gave before, as quick picks: those of the same answer first, the most used first.

const NAME = "reasons";
const MOST_KEPT = 100;
const MOST_SHOWN = 6;

export class Reasons {
  /** @param {Kept} kept */
  constructor(kept) {
    this.kept = kept;
  }

  get all() {
    return this.kept.get(NAME) ?? [];
  }

  /** Remember one that was given. */
  learn(text, kind) {
    const others = this.all.filter((one) => one.text !== text || one.kind !== kind);
    const before = this.all.find((one) => one.text === text && one.kind === kind);
    this.kept.set(NAME, [{ text, kind, times: (before?.times ?? 0) + 1 }, ...others].slice(0, MOST_KEPT));
  }

  /** Those to offer for an answer of `kind` and what was typed so far. */
  fitting(kind, typed) {
    const words = typed.trim().toLowerCase();
    const found = this.all.filter(({ text }) => text.toLowerCase().includes(words) && text !== typed.trim());
    const own = ({ kind: other }) => (kind === null || other === kind ? 1 : 0);
    found.sort((one, other) => own(other) - own(one) || other.times - one.times); // the newest first among equals
    return [...new Set(found.map(({ text }) => text))].slice(0, MOST_SHOWN);
  }
}
