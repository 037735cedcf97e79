// Numbers and names as people read them.

/** "crossword_puzzle" → "Crossword puzzle" */
export function words(label) {
  const text = label.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** 0…1 → "98.2 %"; never "100.0 %" or "0.0 %" for what is neither. */
export function percent(probability) {
  if (probability > 0.9995 && probability < 1) return "> 99.9 %";
  if (probability < 0.0005 && probability > 0) return "< 0.1 %";
  return `${(probability * 100).toFixed(1)} %`;
}

/** Milliseconds → "4.2 ms", "350 ms", "1.26 s" */
export function duration(ms) {
  if (ms == null || Number.isNaN(ms)) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${Number((ms / 1000).toPrecision(3))} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** 12582912 → "12 MiB" */
export function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const step = bytes < 1 ? 0 : Math.min(3, Math.floor(Math.log2(bytes) / 10));
  const number = bytes / 1024 ** step;
  return `${number < 100 ? Number(number.toPrecision(3)) : Math.round(number)} ${units[step]}`;
}

/** Unix seconds → "18:46:12", here */
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });

/** 12345 → "12,345" */
export const count = (number) => number.toLocaleString("en");
