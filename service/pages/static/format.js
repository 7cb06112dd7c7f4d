// Figures and times as people read them.

const MINUS = "\u2212";

/** 0.9312 -> "93 %"; never "100 %" or "0 %" for what only rounds to it. */
export function percent(share) {
  if (share > 0.995 && share < 1) return "> 99 %";
  if (share > 0 && share < 0.005) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}

/** 0.7143 -> "71.4 %": of accuracies, whose tenths tell one epoch from the next. */
export const tenths = (share) => `${(100 * share).toFixed(1)} %`;

/** A figure with two decimals and a true minus sign, but none before what rounds to 0. */
export const figure = (value) => value.toFixed(2).replace(/^-(?!0\.00$)/, MINUS).replace("-", "");

/** The same with its sign always shown. */
export const signed = (value) => (value < 0 ? figure(value) : `+${figure(value)}`);

/** 12 -> "12 s", 192 -> "3 min", 7500 -> "2 h 5 min". */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** An ISO 8601 time in the reader's own zone and habits. */
export const moment = (iso) => new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** 1,536 -> "1.5 kB", in powers of 1,000. */
export function bytes(value) {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${(value / 1000 ** power).toLocaleString(undefined, { maximumFractionDigits: 1 })} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export const count = (value) => value.toLocaleString();
