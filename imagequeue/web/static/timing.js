// Where the time of one answer went: from the server's own account and the browser's clock.

import { duration } from "./text.js";

/** "decode;dur=1.2, queue;dur=3" → {decode: 1.2, queue: 3} (W3C Server Timing, the part of it that is used here) */
export function parseServerTiming(header) {
  const spans = {};
  for (const span of (header ?? "").split(",")) {
    const match = /^\s*([\w-]+)\s*;.*\bdur=([\d.]+)/.exec(span);
    if (match) spans[match[1]] = Number(match[2]);
  }
  return spans;
}

/** The stages in the order of the legend, in ms; what no stage of the server accounts for was spent on the way. */
export function stages(header, total) {
  const { decode = 0, queue = 0, inference = 0 } = parseServerTiming(header);
  return [
    { name: "waited", ms: queue, title: "in the queue, until a worker took it" },
    { name: "computed", ms: inference, title: "by the model, in its batch" },
    { name: "decoded", ms: decode, title: "from the file to the pixels that the model takes" },
    {
      name: "travelled",
      ms: Math.max(0, total - decode - queue - inference),
      title: "from here to the server, through Redis, and back",
    },
  ];
}

/** Fill a strip of coloured parts, its whole, and its legend. */
export function showTimes(box, header, total) {
  const all = stages(header, total);
  box.querySelector(".total").textContent = duration(total);
  box.querySelector(".strip").replaceChildren(
    ...all.map(({ name, ms }) => {
      const part = document.createElement("span");
      part.className = name;
      part.style.flexGrow = ms;
      return part;
    }),
  );
  box.querySelector(".legend").replaceChildren(
    ...all.map(({ name, ms, title }) => {
      const entry = document.createElement("div");
      entry.title = title;
      entry.className = name;
      const term = document.createElement("dt");
      term.textContent = name;
      const value = document.createElement("dd");
      value.textContent = duration(ms);
      entry.append(term, value);
      return entry;
    }),
  );
}
