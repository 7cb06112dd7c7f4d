// Time spent looking at panels; none passes while the page is hidden. What was not sent with an answer is kept on this
// device, so that looking away from a panel, a reload or a closed page takes nothing off.

const NAME = "looked";
const MOST = 200; // panels whose time is kept
const DAY_SECONDS = 86_400; // longest that the service takes for an answer: a page may stay open for longer

export class Stopwatch {
  /** @param {Kept} kept */
  constructor(kept) {
    this.kept = kept;
    this.panel = null; // the address that its answer is sent to
    this.passed = 0;
    this.since = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.resume()));
    addEventListener("pagehide", () => this.pause());
  }

  /** Turn to a panel that was looked at for `seconds` when its answer was given. */
  start(panel, seconds) {
    this.pause();
    this.panel = panel;
    this.passed = 1000 * Math.max(seconds, Object.fromEntries(this.times)[panel] ?? 0);
    if (!document.hidden) this.resume();
  }

  /** Turn away: the answer is given, and has the time. */
  stop() {
    this.kept.set(NAME, this.times.filter(([panel]) => panel !== this.panel));
    this.panel = null;
    this.since = null;
  }

  pause() {
    if (this.panel === null) return;
    this.passed = 1000 * this.seconds;
    this.since = null;
    const others = this.times.filter(([panel]) => panel !== this.panel);
    this.kept.set(NAME, [...others, [this.panel, this.seconds]].slice(-MOST));
  }

  resume() {
    if (this.panel !== null) this.since ??= performance.now();
  }

  /** Seconds so far, at this panel. */
  get seconds() {
    const running = this.since === null ? 0 : performance.now() - this.since;
    return Math.min((this.passed + running) / 1000, DAY_SECONDS);
  }

  /** [panel, seconds] of those without an answer, the latest last. */
  get times() {
    return this.kept.get(NAME) ?? [];
  }
}
