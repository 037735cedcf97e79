// The page at /: images in, cards with answers out. One request for each image, a few at a time.

import { copy, curlLine } from "./curl.js";
import { Problem, away, refused, tooManyBytes, unreadable } from "./errors.js";
import { authorized, onKey } from "./key.js";
import { percent, words } from "./text.js";
import { showTimes } from "./timing.js";

// Of the six connections that a browser opens to one host; the rest stay free for the page itself.
const AT_A_TIME = 4;
const MOST_AT_ONCE = 100;

const { predict, jobs, maxBytes } = document.body.dataset;
const $ = (id) => document.getElementById(id);
const cards = new Set();
const waiting = [];
let running = 0;

// Coming in: chosen, photographed, dropped, pasted, or one of the samples.

for (const input of [$("choose"), $("photograph")]) {
  input.addEventListener("change", () => {
    take([...input.files]);
    // Or choosing the same file again would be no change.
    input.value = "";
  });
}

// A device that can be touched is one that has a camera at hand.
document.querySelector(".camera").hidden = navigator.maxTouchPoints === 0;

let depth = 0;
const dragging = (change) => {
  depth = change === 0 ? 0 : Math.max(0, depth + change);
  document.body.classList.toggle("dragging", depth > 0);
};
document.addEventListener("dragenter", () => dragging(+1));
document.addEventListener("dragleave", () => dragging(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dragging(0);
  take([...event.dataTransfer.files], "Only files can be dropped here. Save the image first, or copy and paste it.");
});

document.addEventListener("paste", (event) => {
  // A key that is pasted into its field is no image, nor meant to be one.
  if (event.target instanceof HTMLInputElement) return;
  take([...event.clipboardData.files], "There is no image on the clipboard.");
});

for (const button of document.querySelectorAll(".sample")) {
  button.addEventListener("click", async () => {
    const { name, src } = button.dataset;
    try {
      const blob = await (await fetch(src)).blob();
      take([new File([blob], name, { type: blob.type })], "", `samples/${name}`);
    } catch {
      notice(away().message);
    }
  });
}

function take(files, ifNone = "", path = "") {
  notice(files.length ? "" : ifNone);
  if (files.length > MOST_AT_ONCE) notice(`The first ${MOST_AT_ONCE} of ${files.length} files are taken.`);
  const taken = files.slice(0, MOST_AT_ONCE).map((file) => makeCard(file, path || file.name));
  if (!taken.length) return;
  $("results").hidden = false;
  $("cards").prepend(...taken.map((card) => card.element));
  taken[0].element.scrollIntoView({ block: "nearest" });
  taken.forEach(send);
}

// Sending.

function send(card) {
  card.element.setAttribute("aria-busy", "true");
  waiting.push(card);
  sendMore();
}

function sendMore() {
  while (running < AT_A_TIME && waiting.length) {
    const card = waiting.shift();
    running += 1;
    classify(card)
      .then((answer) => showAnswer(card, answer), (problem) => showProblem(card, problem))
      .finally(() => {
        running -= 1;
        sendMore();
      });
  }
}

/** Resolves to the answer's body, its Server-Timing and the whole duration in ms; rejects with a Problem. */
async function classify({ file, readable }) {
  if (file.size > Number(maxBytes)) throw tooManyBytes(file, Number(maxBytes));
  if (!(await readable.catch(() => false))) throw unreadable();
  const form = new FormData();
  form.append("image", file);
  const started = performance.now();
  const response = await authorized(predict, { method: "POST", body: form }).catch(() => { throw away(); });
  const body = await response.json().catch(() => null);
  if (!response.ok || !body?.predictions) throw refused(response, body);
  return { ...body, timing: response.headers.get("Server-Timing"), total: performance.now() - started };
}

// Showing.

function makeCard(file, path) {
  const element = $("card").content.firstElementChild.cloneNode(true);
  const find = (selector) => element.querySelector(selector);
  const card = { element, file, find, url: URL.createObjectURL(file), timer: 0 };
  const image = find("img");
  const hide = () => element.classList.add("blind");
  image.addEventListener("error", hide);
  card.readable = file.slice(0, 1).arrayBuffer().then(() => { image.src = card.url; return file.size > 0; });
  card.readable.catch(hide);
  find(".file").textContent = file.name;
  find("code").textContent = curlLine(path, new URL(predict, location.href));
  find(".copy").addEventListener("click", async (event) => {
    event.target.textContent = (await copy(find("code"))) ? "Copied" : "Press Ctrl C";
    say(event.target.textContent);
    setTimeout(() => { event.target.textContent = "Copy"; }, 2000);
  });
  find(".retry").addEventListener("click", () => {
    showPending(card);
    // The button goes; whoever pressed it with a key goes on from here.
    element.focus({ preventScroll: true });
    send(card);
  });
  cards.add(card);
  return card;
}

function showPending(card) {
  clearInterval(card.timer);
  card.element.classList.remove("failed");
  card.find(".best").textContent = "Waiting for the answer";
  card.find(".problem").hidden = card.find(".retry").hidden = true;
  card.find(".labels").hidden = false;
}

function showAnswer(card, { predictions, id, weights, timing, total }) {
  const [best] = predictions;
  card.element.setAttribute("aria-busy", "false");
  card.find(".best").textContent = words(best.label);
  card.find(".labels").replaceChildren(...predictions.map(row));
  showTimes(card.find(".times"), timing, total);
  card.find(".times").hidden = card.find("footer").hidden = false;
  linkTrace(card, id);
  if (weights === "random") $("banner").hidden = false;
  say(`${card.file.name}: ${words(best.label)}, ${percent(best.probability)}`);
}

function row({ label, probability }) {
  const element = document.createElement("li");
  const name = document.createElement("span");
  const bar = document.createElement("span");
  const value = document.createElement("span");
  name.className = "label";
  name.textContent = words(label);
  bar.className = "bar";
  bar.style.setProperty("--share", probability);
  value.className = "value";
  value.textContent = percent(probability);
  value.title = probability;
  element.append(name, bar, value);
  return element;
}

function showProblem(card, problem) {
  if (!(problem instanceof Problem)) throw problem;
  card.element.setAttribute("aria-busy", "false");
  card.element.classList.add("failed");
  card.find(".best").textContent = "No answer";
  card.find(".labels").hidden = true;
  card.find(".problem").textContent = problem.message;
  card.find(".problem").hidden = false;
  card.find("footer").hidden = !problem.id;
  linkTrace(card, problem.id);
  const inSeconds = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
  say(`${card.file.name}: ${problem.message}${inSeconds}`);
  if (problem.retryAfter !== null) countDown(card, problem.retryAfter);
}

/** The button to try again, asleep for as long as the server has asked for. */
function countDown(card, seconds) {
  const button = card.find(".retry");
  const until = performance.now() + seconds * 1000;
  const show = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left <= 0) clearInterval(card.timer);
  };
  button.hidden = false;
  card.timer = setInterval(show, 250);
  show();
}

function linkTrace(card, id) {
  const link = card.find(".trace");
  link.hidden = !id;
  if (id) link.href = `${jobs}${id}/trace`;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** For who cannot see the card change. Answers that come together are told together. */
let unsaid = [];
function say(text) {
  unsaid.push(text);
  if (unsaid.length > 1) return;
  setTimeout(() => {
    $("said").textContent = unsaid.join("; ");
    unsaid = [];
  }, 300);
}

$("clear").addEventListener("click", () => {
  for (const card of cards) {
    clearInterval(card.timer);
    URL.revokeObjectURL(card.url);
  }
  cards.clear();
  waiting.length = 0;
  $("cards").replaceChildren();
  $("results").hidden = true;
  $("choose").focus();
});

onKey(() => {
  for (const button of document.querySelectorAll(".retry:enabled")) if (!button.hidden) button.click();
});
