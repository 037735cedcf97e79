// The parts of the dashboard that are not lines: batches, counters, workers, the latest requests.

import { clock, count, duration, words } from "./text.js";

const ROWS = 15;

/** 12.34 → "12.3/s" */
export const rate = (perSecond) => `${perSecond < 100 ? Number(perSecond.toFixed(1)) : count(Math.round(perSecond))}/s`;

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

/** How many batches had how many images; sizes are put together until a dozen columns are left. */
export function showBatches(panel, sizes) {
  const all = Object.entries(sizes).map(([size, times]) => [Number(size), times]);
  const batches = all.reduce((sum, [, times]) => sum + times, 0);
  const images = all.reduce((sum, [size, times]) => sum + size * times, 0);
  panel.querySelector(".now").textContent = batches ? Number((images / batches).toFixed(1)) : "–";
  panel.querySelector(".more").textContent = batches ? `images in a batch on average, of ${count(batches)}` : "no batch yet";
  const largest = Math.max(1, ...all.map(([size]) => size));
  const step = Math.ceil(largest / 16);
  const columns = Array.from({ length: Math.ceil(largest / step) }, (_, i) => {
    const [from, to] = [i * step + 1, (i + 1) * step];
    const times = all.reduce((sum, [size, n]) => sum + (size >= from && size <= to ? n : 0), 0);
    return { label: from === to ? `${from}` : `${from}–${to}`, times };
  });
  const most = Math.max(1, ...columns.map(({ times }) => times));
  panel.querySelector(".columns").replaceChildren(
    ...columns.map(({ label, times }, i) => {
      const column = make("li");
      column.title = `${label}: ${count(times)} batches`;
      const bar = make("span", times ? "some" : "");
      bar.style.setProperty("--share", times / most);
      // As many labels as there is room for, the last always.
      const isLabelled = columns.length <= 8 || i === 0 || i === columns.length - 1 || (i + 1) % 4 === 0;
      column.append(bar, make("span", "at", isLabelled ? label.split("–").at(-1) : ""));
      column.append(make("span", "unseen", `${label} images: ${times} batches`));
      return column;
    }),
  );
}

const TOLD = [
  ["refused", "refused", "the queue was full, or too long for their deadline"],
  ["expired", "expired", "nobody got to them before their deadline"],
  ["too_late", "too late", "less time was left than the model takes"],
  ["failed", "failed", "the model failed on them"],
  ["crashes", "crashes", "a worker died while it held them"],
  ["convicted", "given up", "after the death of several workers"],
];

export function showCounters(list, counters, before) {
  list.replaceChildren(
    ...TOLD.map(([name, title, why]) => {
      const row = make("div", counters[name] > before[name] ? "grown" : "");
      const term = make("dt", "", title);
      term.append(make("small", "", why));
      const value = make("dd", "number", count(counters[name]));
      if (counters[name] > before[name]) value.append(make("small", "", `+${count(counters[name] - before[name])} of late`));
      row.append(term, value);
      return row;
    }),
  );
}

const longest = new Map();

export function showWorkers(list, workers, before, now) {
  if (!workers.length) {
    list.replaceChildren(make("li", "none", "No worker. Start one: python run_model_server.py"));
    return;
  }
  list.replaceChildren(
    ...workers.map((worker) => {
      const card = make("li", worker.is_live ? "worker" : "worker gone");
      const head = make("div", "worker-head");
      // Where it runs is shown to admins alone.
      const place = worker.host ? [worker.host, `pid ${worker.pid}`] : ["Worker", worker.id];
      head.append(make("strong", "", place[0]), make("span", "mono", place[1]));
      const chips = make("div", "chips");
      for (const fact of new Set([worker.model, worker.runtime])) chips.append(make("span", "chip", fact));
      if (worker.weights === "random") chips.append(make("span", "chip bad", "random weights"));
      // How long a lease is, nobody says; what was left of it just after a heartbeat does.
      longest.set(worker.id, Math.max(longest.get(worker.id) ?? 0, worker.lease_left));
      const perSecond = (now.images[worker.id] - (before.images[worker.id] ?? 0)) / (now.time - before.time);
      const batch = worker.last_batch ?? 0;
      card.append(
        head,
        chips,
        gauge("Lease", worker.is_live ? `${worker.lease_left.toFixed(0)} s left` : "ended",
          worker.lease_left / longest.get(worker.id)),
        gauge("Last batch", `${batch} of ${worker.max_batch}`, batch / worker.max_batch),
        make("p", "worker-foot number",
          `${count(worker.images ?? 0)} images${Number.isFinite(perSecond) ? `, ${rate(perSecond)}` : ""}`),
      );
      return card;
    }),
  );
}

function gauge(name, text, share) {
  const element = make("div", "gauge");
  const bar = make("span", "bar");
  bar.style.setProperty("--share", Math.min(1, Math.max(0, share || 0)));
  element.append(make("span", "", name), make("span", "number", text), bar);
  return element;
}

let latest = [];

/** New rows on top, of all web processes that have answered so far. The rows stand still while somebody points at one, or none could be hit under load. */
export function showRequests(body, requests, jobs) {
  if (body.matches(":hover, :focus-within")) return;
  const keyOf = ({ id, time }) => `${id} ${time}`;
  const all = new Map([...latest, ...requests].map((request) => [keyOf(request), request]));
  latest = [...all.values()].sort((a, b) => b.time - a.time).slice(0, ROWS);
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const rows = latest.map((request) => known.get(keyOf(request)) ?? requestRow(request, keyOf(request), jobs));
  if (rows.length) body.replaceChildren(...rows);
}

function requestRow({ id, time, status, label, ms }, key, jobs) {
  const row = make("tr");
  row.dataset.key = key;
  const outcome = make("td", status === 200 ? "" : "bad", words(label));
  const trace = make("td");
  if (id) {
    const link = make("a", "mono", id.slice(0, 8));
    link.href = `${jobs}${id}/trace`;
    link.setAttribute("aria-label", `Trace of job ${id.slice(0, 8)}`);
    trace.append(link);
  }
  row.append(
    make("td", "number", clock(time)),
    outcome,
    make("td", "number", `${status}`),
    make("td", "number", duration(ms)),
    trace,
  );
  return row;
}
