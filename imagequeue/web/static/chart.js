// Lines over the last minutes, as SVG: no library is smaller than what is needed here.

import { clock } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 100;
// Two samples that are further apart are not joined: nobody looked in between.
const GAP_SECONDS = 15;

/** 1, 2 or 5 times a power of ten, and not below `value` */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}

export class Chart {
  /**
   * figure: with an <svg>, and elements .max, .reading
   * lines: for each line {name, value: sample → number or null}; the first has its area filled
   * format: number → text;  minutes: how many are shown at most;  least: the smallest top of the scale
   */
  constructor(figure, { lines, format, minutes, least = 1 }) {
    Object.assign(this, { figure, lines, format, minutes, least, samples: [], pointed: null });
    this.svg = figure.querySelector("svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.area = this.add("area");
    this.paths = lines.map(({ name }) => this.add(`line ${name}`));
    this.cursor = this.add("cursor");
    this.svg.addEventListener("pointermove", (event) => {
      const { left, width } = this.svg.getBoundingClientRect();
      this.pointed = (event.clientX - left) / width;
      this.read();
    });
    this.svg.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.read();
    });
  }

  add(className) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", className);
    return this.svg.appendChild(path);
  }

  /** samples: [{time: seconds, …}], oldest first */
  draw(samples) {
    this.samples = samples;
    this.end = samples.at(-1)?.time ?? 0;
    const minutes = Math.ceil((this.end - (samples[0]?.time ?? 0)) / 60);
    this.seconds = 60 * Math.min(this.minutes, Math.max(1, minutes));
    const shown = samples.filter(({ time }) => time >= this.end - this.seconds);
    const values = shown.flatMap((sample) => this.lines.map((line) => line.value(sample) ?? 0));
    this.top = niceCeiling(Math.max(this.least, ...values));
    this.lines.forEach((line, i) => this.paths[i].setAttribute("d", this.path(shown, line).line));
    this.area.setAttribute("d", this.path(shown, this.lines[0]).area);
    this.figure.querySelector(".max").textContent = this.format(this.top);
    this.figure.querySelector(".from").textContent = `${this.seconds / 60} min ago`;
    const peak = this.format(Math.max(0, ...values));
    this.svg.setAttribute("aria-label", `${this.figure.dataset.name}, the last minutes: at most ${peak}`);
    this.read();
  }

  x(time) {
    return WIDTH * (1 - (this.end - time) / this.seconds);
  }

  /** The line, and the area below it, in as many pieces as there are stretches without a gap. */
  path(samples, { value }) {
    const pieces = [];
    let last = -Infinity;
    for (const sample of samples) {
      const height = value(sample);
      if (height == null) continue;
      if (sample.time - last > GAP_SECONDS) pieces.push([]);
      last = sample.time;
      pieces.at(-1).push([this.x(sample.time).toFixed(1), (HEIGHT * (1 - height / this.top)).toFixed(1)]);
    }
    const lines = pieces.map((points) => `M${points.map((point) => point.join(" ")).join("L")}`);
    const areas = lines.map((line, i) => `${line}V${HEIGHT}H${pieces[i][0][0]}Z`);
    return { line: lines.join(""), area: areas.join("") };
  }

  /** What the lines show at the pointer. */
  read() {
    const reading = this.figure.querySelector(".reading");
    const time = this.end - this.seconds * (1 - this.pointed);
    const near = (a, b) => (Math.abs(b.time - time) < Math.abs(a.time - time) ? b : a);
    const sample = this.pointed === null || !this.samples.length ? null : this.samples.reduce(near);
    const isThere = sample !== null && Math.abs(sample.time - time) < GAP_SECONDS;
    this.cursor.setAttribute("d", isThere ? `M${this.x(sample.time)} 0V${HEIGHT}` : "");
    reading.textContent = isThere
      ? [clock(sample.time), ...this.lines.map((line) => this.told(line, sample))].join("  ")
      : "";
  }

  told({ name, value }, sample) {
    const number = value(sample);
    return `${this.lines.length > 1 ? `${name} ` : ""}${number == null ? "–" : this.format(number)}`;
  }
}
