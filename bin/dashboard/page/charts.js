// Curves over the last five minutes. What they are drawn from is kept here, in the page.

import { el, setText, svg } from "./view.js";

const KEPT_MS = 5 * 60 * 1000;
// Points that are nearer than this are one.
const STEP_MS = 900;
// Where nothing was heard for so long there is no line.
const GAP_MS = 10 * 1000;
const LEFT = 56;
const BOTTOM = 18;
const TOP = 8;

// The smallest round number that is not less: 1, 2 or 5 and zeros.
export function roundUp(value) {
  if (!(value > 0)) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 5, 10].find((factor) => factor * power >= value * 0.999999);
  return factor * power;
}

export class Chart {
  // `series` are a name each, with the class of its curve; `format` makes text of a value, and
  // `short` shorter text for the side of the chart.
  constructor(host, title, series, format, short) {
    Object.assign(this, { title, series, format, short, points: [] });
    this.svg = svg("svg", { role: "img" });
    this.values = series.map(() => el("span"));
    const keys = series.map(({ name, className }, at) => {
      const line = svg("line", { class: className, x1: 0, y1: 5, x2: 22, y2: 5 });
      const key = svg("svg", { class: "key", "aria-hidden": "true" }, line);
      return el("span", {}, key, `${name} `, this.values[at]);
    });
    const caption = el("figcaption", {}, ...keys);
    host.append(el("figure", {}, el("h3", {}, title), this.svg, caption));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  // Adds a value for each series; null where it is not known.
  push(values) {
    const at = performance.now();
    const last = this.points.at(-1);
    if (last && at - last.at < STEP_MS) {
      last.values = values;
    } else {
      this.points.push({ at, values });
    }
    while (this.points.length > 0 && at - this.points[0].at > KEPT_MS) {
      this.points.shift();
    }
    this.draw();
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width === 0 || this.points.length === 0) {
      return;
    }
    const all = this.points.flatMap(({ values }) => values).filter((value) => value !== null);
    const top = roundUp(Math.max(0, ...all));
    const now = performance.now();
    const x = (at) => LEFT + (1 - (now - at) / KEPT_MS) * (width - LEFT - 4);
    const y = (value) => TOP + (1 - value / top) * (height - TOP - BOTTOM);
    const parts = [];
    for (const value of [0, top / 2, top]) {
      const at = y(value);
      const label = svg("text", { class: "tick", x: LEFT - 6, y: at + 4, "text-anchor": "end" });
      setText(label, value === 0 ? "0" : this.short(value));
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - 4, y1: at, y2: at }), label);
    }
    for (const [text, at, anchor] of [["5 min ago", LEFT, "start"], ["now", width - 4, "end"]]) {
      const label = svg("text", { class: "tick", x: at, y: height - 4, "text-anchor": anchor });
      setText(label, text);
      parts.push(label);
    }
    this.series.forEach(({ className }, index) => {
      parts.push(svg("path", { class: `curve ${className}`, d: this.path(index, x, y) }));
    });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    this.describe(all);
  }

  // A curve with gaps where nothing is known.
  path(index, x, y) {
    const parts = [];
    let before = null;
    for (const { at, values } of this.points) {
      const value = values[index];
      if (value === null || value === undefined) {
        before = null;
        continue;
      }
      const isGap = before === null || at - before > GAP_MS;
      parts.push(`${isGap ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
      before = at;
    }
    // A lone point has no length; it is drawn as a short line.
    return parts.length === 1 ? `${parts[0]}h1` : parts.join("");
  }

  // The same in words.
  describe(all) {
    const last = this.points.at(-1).values;
    const now = this.series.map(({ name }, at) => {
      const text = this.format(last[at]);
      setText(this.values[at], text);
      return `${name} ${text}`;
    });
    const most = all.length > 0 ? `; at most ${this.format(Math.max(...all))}` : "";
    this.svg.setAttribute("aria-label", `${this.title}: now ${now.join(", ")}${most}`);
  }
}
