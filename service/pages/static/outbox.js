// Answers that the service has not acknowledged yet: kept on this device, and sent again until it has.
// Each is sent as PUT or DELETE of its own address, so sending twice is the same as sending once.

import { explain } from "./api.js";
import { isRefused, mayPass } from "./link.js";

const START = "outbox.";
const FIRST_SECONDS = 1;
const MOST_SECONDS = 30;

export class Outbox {
  /**
   * @param {Link} link
   * @param {Kept} kept
   * @param {{changed: function(), acknowledged: function(Object, Object), rejected: function(Object, Object)}} listeners
   *   changed: something is told differently now. acknowledged(item, answer), rejected(item, problem).
   */
  constructor(link, kept, listeners) {
    this.link = link;
    this.kept = kept;
    this.listeners = listeners;
    this.problem = null; // why the last attempt failed
    this.refused = false; // the link is not taken any more
    this.sending = false;
    this.wait = FIRST_SECONDS;
    this.timer = null;
    addEventListener("online", () => this.sendNow());
    addEventListener("storage", () => this.listeners.changed()); // another tab has sent or added something
  }

  /** What waits, the oldest first: {panel, path, method, body, at}. */
  get items() {
    return this.kept
      .names(START)
      .map((name) => this.kept.get(name))
      .filter((item) => item !== null)
      .sort((one, other) => one.at - other.at);
  }

  /** What waits to be sent to one address, or null. */
  of(path) {
    return this.kept.get(START + path);
  }

  /** Keep an answer, or that one is taken back, and begin to send it. */
  add(item) {
    this.kept.set(START + item.path, { ...item, at: Date.now() });
    this.listeners.changed();
    if (this.problem === null) this.send(); // otherwise it goes with the others at the next attempt
  }

  /** Try at once. */
  sendNow() {
    clearTimeout(this.timer);
    this.wait = FIRST_SECONDS;
    this.send();
  }

  async send() {
    if (this.sending || this.refused) return;
    this.sending = true;
    clearTimeout(this.timer);
    try {
      let items;
      while ((items = this.items).length > 0) await this.deliver(items[0]);
      this.problem = null;
      this.wait = FIRST_SECONDS;
    } catch (error) {
      this.problem = explain(error);
      this.refused = isRefused(this.problem);
      if (!this.refused) this.timer = setTimeout(() => this.send(), this.wait * 1000);
      this.wait = Math.min(2 * this.wait, MOST_SECONDS);
    }
    this.sending = false;
    this.listeners.changed();
  }

  /** One answer; throws where it has to wait. */
  async deliver(item) {
    const name = START + item.path;
    const text = this.kept.text(name);
    const { path, method, body } = item;
    try {
      const options = body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {};
      const answer = await this.link.ask(path, { method, ...options });
      this.forget(name, text);
      this.problem = null;
      this.wait = FIRST_SECONDS;
      this.listeners.acknowledged(item, answer);
    } catch (error) {
      const problem = explain(error);
      if (isRefused(problem) || mayPass(problem)) throw error;
      this.forget(name, text);
      if (method !== "DELETE" || problem.status !== 404) this.listeners.rejected(item, problem);
    }
  }

  /** An answer that was changed while it was sent stays. */
  forget(name, text) {
    if (this.kept.text(name) === text) this.kept.remove(name);
  }
}
