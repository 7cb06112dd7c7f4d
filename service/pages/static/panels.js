// The panels an annotator owes: the next ones are loaded, pictures and all, while one is looked at.

import { decodeSheet } from "./sheet.js";

const DEPTH = 2; // panels loaded ahead
const KEPT_PICTURES = 40;
const KEPT_PANELS = 20;

/** @typedef {{task: Object, sheets: Object<string, Sheet>}} Panel a task as the service tells it, and its pictures */

export class Panels {
  /**
   * @param {Link} link
   * @param {function(string): boolean} isAnswered whether a panel was answered here, even if the service does not know
   */
  constructor(link, isAnswered) {
    this.link = link;
    this.isAnswered = isAnswered;
    this.ahead = []; // loaded, in the order they will be shown
    this.pictures = new Map(); // href -> promise of a sheet
    this.seen = new Map(); // id -> panel, the latest last
    this.loading = null;
  }

  /** The panel to show after `current`, an id or null; null where none is left. */
  async after(current) {
    for (;;) {
      this.ahead = this.ahead.filter(({ task }) => task.panel !== current && !this.isAnswered(task.panel));
      if (this.ahead.length > 0) return this.ahead.shift();
      if (!(await this.lookFurther(current))) return null;
    }
  }

  /** A panel by its id, to go back to. */
  async named(id) {
    return this.seen.get(id) ?? this.load(`panel=${encodeURIComponent(id)}`);
  }

  /** Forget all panels: another round has begun. */
  forget() {
    this.ahead = [];
    this.seen.clear();
  }

  /** Show this one next. */
  putBack(panel) {
    this.ahead = [panel, ...this.ahead.filter(({ task }) => task.panel !== panel.task.panel)];
  }

  /** Load what comes after `current`; failures are met again when it is needed. */
  prefetch(current) {
    if (this.ahead.length >= DEPTH) return;
    this.lookFurther(current).then(
      (found) => found && this.prefetch(current),
      () => {},
    );
  }

  /** Load one more panel; false where there is none. Those who ask meanwhile wait for the same. */
  lookFurther(current) {
    this.loading ??= this.find(current).finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  async find(current) {
    const known = new Set([current, ...this.ahead.map(({ task }) => task.panel)]);
    const tried = new Set();
    let last = this.ahead.at(-1)?.task.panel ?? current;
    for (;;) {
      const task = await this.ask(last === null ? "" : `after=${encodeURIComponent(last)}`);
      if (task === null || known.has(task.panel) || tried.has(task.panel)) return false;
      if (!this.isAnswered(task.panel)) {
        this.ahead.push(await this.dress(task));
        return true;
      }
      tried.add(task.panel); // it waits to be sent: the service still thinks that it is owed
      last = task.panel;
    }
  }

  async load(query) {
    const task = await this.ask(query);
    return task === null ? null : this.dress(task);
  }

  ask(query) {
    return this.link.ask(`/v1/label/next${query && `?${query}`}`);
  }

  /** A task with its pictures. The strip of its class is decoration: the panel is shown without one that cannot be read. */
  async dress(task) {
    const groups = Object.entries(task.groups ?? { panel: task.panel_href });
    const sheets = Object.fromEntries(
      await Promise.all(groups.map(async ([name, href]) => [name, await this.picture(href, task.tile)])),
    );
    const strip = task.class.strip_href;
    sheets.strip = strip ? await this.picture(strip, null).catch(() => null) : null;
    const panel = { task, sheets };
    this.seen.delete(task.panel);
    this.seen.set(task.panel, panel);
    if (this.seen.size > KEPT_PANELS) this.seen.delete(this.seen.keys().next().value);
    return panel;
  }

  picture(href, tile) {
    const known = this.pictures.get(href);
    if (known !== undefined) {
      this.pictures.delete(href); // it goes to the end: the latest used
      this.pictures.set(href, known);
      return known;
    }
    const made = this.link.picture(href).then((url) => decodeSheet(url, tile));
    this.pictures.set(href, made);
    made.catch(() => this.pictures.delete(href));
    this.drop();
    return made;
  }

  /** Give back the memory of pictures that were not used for long and that no kept panel shows. */
  drop() {
    const used = new Set([...this.seen.values(), ...this.ahead].flatMap(({ sheets }) => Object.values(sheets)));
    for (const [href, made] of [...this.pictures].slice(0, Math.max(0, this.pictures.size - KEPT_PICTURES))) {
      made.then(
        (sheet) => {
          if (used.has(sheet)) return;
          this.pictures.delete(href);
          URL.revokeObjectURL(sheet.url);
        },
        () => {},
      );
    }
  }
}
