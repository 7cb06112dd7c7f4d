// What one link keeps on this device: small values by name, so that a closed page, a reload or a lost network costs nothing.

const ROOT = "cuecheck.label";

/** Values kept by the browser; where it keeps none, by the page, which then says so before it is closed. */
export class Kept {
  /** @param {string} link what tells one link's values from another's */
  constructor(link) {
    this.prefix = `${ROOT}.${link}.`;
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

  /** Whether something would be lost if the page were closed now. */
  get fragile() {
    return this.instead.size > 0;
  }
}
