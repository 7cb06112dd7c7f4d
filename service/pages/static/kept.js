// What one link keeps on this device: small values by name, so that a closed page, a reload or a lost network costs nothing.

const ROOT = "cuecheck.label";
const OWNER = "annotator";

/** Values kept by the browser; where it keeps none, by the page, which then says so before it is closed. */
export class Kept {
  /**
   * @param {string} annotation that the link is to
   * @param {string} invitation that it is of
   */
  constructor(annotation, invitation) {
    this.annotation = `${ROOT}.${annotation}.`;
    this.prefix = `${this.annotation}${invitation}.`;
    this.instead = new Map();
  }

  get(name) {
    const text = this.text(name);
    return text === null ? null : JSON.parse(text);
  }

  /** The value as it is kept: two of the same text are the same value. */
  text(name) {
    if (this.instead.has(name)) return this.instead.get(name);
    try {
      return localStorage.getItem(this.prefix + name);
    } catch {
      return null;
    }
  }

  set(name, value) {
    const text = JSON.stringify(value);
    try {
      localStorage.setItem(this.prefix + name, text);
      this.instead.delete(name);
    } catch {
      this.instead.set(name, text);
    }
  }

  remove(name) {
    this.instead.delete(name);
    try {
      localStorage.removeItem(this.prefix + name);
    } catch {
      // There is nothing to remove.
    }
  }

  /** The names that begin with `start`. */
  names(start) {
    const names = new Set(this.instead.keys());
    try {
      for (let at = 0; at < localStorage.length; at += 1) {
        const key = localStorage.key(at);
        if (key.startsWith(this.prefix)) names.add(key.slice(this.prefix.length));
      }
    } catch {
      // Only what the page itself keeps.
    }
    return [...names].filter((name) => name.startsWith(start));
  }

  /** Take over what an earlier link of the same person to the same annotation has left on this device. */
  adopt(annotator) {
    try {
      this.set(OWNER, annotator);
      for (const key of Object.keys(localStorage)) {
        if (!key.startsWith(this.annotation) || key.startsWith(this.prefix)) continue;
        const [earlier] = key.slice(this.annotation.length).split(".", 1);
        const prefix = `${this.annotation}${earlier}.`;
        if (localStorage.getItem(prefix + OWNER) !== this.text(OWNER) || key === prefix + OWNER) continue;
        const name = key.slice(prefix.length);
        if (this.text(name) === null) localStorage.setItem(this.prefix + name, localStorage.getItem(key));
        localStorage.removeItem(key);
      }
    } catch {
      // This browser keeps nothing.
    }
  }

  /** Whether something would be lost if the page were closed now. */
  get fragile() {
    return this.instead.size > 0;
  }
}
