// Time spent looking at a panel; none passes while the page is hidden.

export class Stopwatch {
  constructor() {
    this.passed = 0;
    this.since = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.resume()));
  }

  start() {
    this.passed = 0;
    this.since = document.hidden ? null : performance.now();
  }

  pause() {
    if (this.since !== null) this.passed += performance.now() - this.since;
    this.since = null;
  }

  resume() {
    this.since ??= performance.now();
  }

  /** Seconds so far. */
  get seconds() {
    const running = this.since === null ? 0 : performance.now() - this.since;
    return (this.passed + running) / 1000;
  }
}
