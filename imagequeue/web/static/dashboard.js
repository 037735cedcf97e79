// The dashboard: one look at /stats each second, and what became of it over the last minutes.

import { Chart } from "./chart.js";
import { authorized, onKey } from "./key.js";
import { rate, showBatches, showCounters, showRequests, showWorkers } from "./panels.js";
import { count, duration } from "./text.js";

const LOOK_MS = 1000;
// Where nobody looks, or the server is away.
const SELDOM_MS = 10_000;
const MINUTES = 5;
// Batches come home together; over less time the rate would jump with each.
const RATE_SECONDS = 5;
const KEPT = "imagequeue-samples";

const { stats, jobs } = document.body.dataset;
const $ = (id) => document.getElementById(id);
const samples = recall();
let isPaused = false;
let timer = 0;
let turn = 0;

const charts = [
  new Chart($("depth"), { minutes: MINUTES, format: count, least: 10, lines: [{ name: "waiting", value: (s) => s.depth }] }),
  new Chart($("throughput"), { minutes: MINUTES, format: rate, least: 10, lines: [{ name: "answered", value: (s) => s.completed }] }),
  new Chart($("latency"), {
    minutes: MINUTES,
    format: duration,
    least: 10,
    lines: ["p50", "p95", "p99"].map((name) => ({ name, value: (s) => s[name] ?? null })),
  }),
];

async function look() {
  clearTimeout(timer);
  const mine = ++turn;
  if (isPaused) return;
  const { body, trouble } = await ask();
  // Somebody paused meanwhile, or a later look has begun: one loop only, and the last word is not this one's.
  if (mine !== turn) return;
  timer = setTimeout(look, document.hidden ? SELDOM_MS : body ? LOOK_MS : 2 * LOOK_MS);
  if (body) show(body);
  else tell("away", trouble);
}

/** What /stats tells, or why it tells nothing. */
async function ask() {
  try {
    const response = await authorized(stats);
    const body = await response.json();
    return response.ok ? { body } : { trouble: body.error.message };
  } catch {
    return { trouble: "The server does not answer." };
  }
}

function show(body) {
  remember(body);
  const { depth, suspects, oldest_age: oldest, wait, rates, latency, workers, live_workers: live } = body;
  const now = samples.at(-1);
  $("depth-now").textContent = count(depth);
  $("depth-more").textContent = depth || suspects
    ? `the oldest for ${duration(oldest * 1000)}${wait ? `, a new one for ${duration(wait * 1000)}` : ""}${suspects ? `, ${count(suspects)} suspected of a crash` : ""}`
    : "nothing waits";
  // With the first look there is nothing yet to compare; the server may have looked before.
  $("throughput-now").textContent = rate(now.completed ?? rates.completed_per_s ?? 0);
  $("throughput-more").textContent =
    `${rate(rates.enqueued_per_s ?? 0)} come in, ${rate(rates.refused_per_s ?? 0)} refused`;
  $("latency-now").textContent = latency.total ? duration(latency.total.p50) : "–";
  $("latency-more").textContent = latency.total
    ? `p95 ${duration(latency.total.p95)}, p99 ${duration(latency.total.p99)}`
    : "no answer in the last minute";
  for (const chart of charts) chart.draw(samples);
  showBatches($("batches"), body.batch_sizes);
  showCounters($("counters"), body.counters, samples[0].counters);
  showWorkers($("workers"), workers, samples.findLast((s) => now.time - s.time >= RATE_SECONDS) ?? samples[0], now);
  showRequests($("requests"), body.requests, jobs);
  tell(live ? "live" : "away", live ? `Live, ${live} ${live === 1 ? "worker" : "workers"}` : "No worker is running");
}

function remember(body) {
  const { time, depth, counters, latency, workers } = body;
  const last = samples.at(-1);
  // A counter that falls, or a clock, belongs to another Redis; its past is not this one's.
  if (last && (time < last.time || counters.completed < last.counters.completed)) samples.length = 0;
  if (samples.at(-1)?.time === time) return;
  const before = samples.findLast((s) => time - s.time >= RATE_SECONDS) ?? samples[0];
  samples.push({
    time,
    depth,
    counters,
    completed: before ? (counters.completed - before.counters.completed) / (time - before.time) : null,
    ...(latency.total && { p50: latency.total.p50, p95: latency.total.p95, p99: latency.total.p99 }),
    images: Object.fromEntries(workers.map(({ id, images = 0 }) => [id, images])),
  });
  while (time - samples[0].time > 60 * MINUTES + 2 * RATE_SECONDS) samples.shift();
}

/** The line on top; told aloud only when its state changes, not each second. */
function tell(state, text) {
  if ($("state").textContent === text) return;
  $("state").className = `state ${state}`;
  $("state").textContent = text;
}

/** What this tab has seen, from before it was loaded anew. */
function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

addEventListener("pagehide", () => sessionStorage.setItem(KEPT, JSON.stringify(samples)));
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
$("pause").addEventListener("click", ({ target }) => {
  isPaused = !isPaused;
  target.textContent = isPaused ? "Go on" : "Pause";
  if (isPaused) tell("paused", "Paused");
  look();
});
onKey(look);
look();
