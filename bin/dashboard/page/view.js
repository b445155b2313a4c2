// What every part of the page is made with: elements, numbers as text, and tables that change in
// place. Text from outside only ever becomes text.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      node.addEventListener(name.slice(2), value);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children);
  return node;
}

// An element with attributes; those that begin with "on" are listeners.
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

// Writes only what changes: nothing that is selected or read aloud is disturbed without need.
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

// ---- numbers as text

const COUNT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact" });
const NONE = "\u2013";

export function count(value) {
  return value === null || value === undefined ? NONE : COUNT.format(value);
}

export function compact(value) {
  return COMPACT.format(value);
}

export function tasksText(value) {
  return value === 1 ? "1 task" : `${count(value)} tasks`;
}

export function rate(value) {
  if (value === null || value === undefined) {
    return NONE;
  }
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

// Nanoseconds as a length of time.
export function span(ns) {
  if (ns === null || ns === undefined) {
    return NONE;
  }
  const units = [[1e3, 1, "ns"], [1e6, 1e3, "\u00b5s"], [1e9, 1e6, "ms"], [60e9, 1e9, "s"]];
  const size = Math.abs(ns);
  for (const [below, unit, name] of units) {
    if (size < below) {
      const value = ns / unit;
      const digits = unit === 1 || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
      return `${value.toFixed(digits)} ${name}`;
    }
  }
  return wholeSeconds(Math.round(ns / 1e9));
}

function wholeSeconds(seconds) {
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([unit]) => seconds >= unit);
  const [unit, name] = parts[first];
  const [nextUnit, nextName] = parts[first + 1] ?? [1, ""];
  const rest = Math.floor((seconds % unit) / nextUnit);
  const head = `${Math.floor(seconds / unit)} ${name}`;
  return rest > 0 ? `${head} ${rest} ${nextName}` : head;
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  let size = value;
  while (size >= 1024 && at + 1 < units.length) {
    size /= 1024;
    at += 1;
  }
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

// How long ago a moment was, in nanoseconds since 1970.
export function ago(ns, now) {
  return ns ? `${wholeSeconds(Math.max(0, Math.floor((now - ns) / 1e9)))} ago` : NONE;
}

export function moment(ns) {
  return ns ? new Date(ns / 1e6).toLocaleString() : NONE;
}

// ---- tables

// Makes the children of a node those of a list, and leaves those that stay where they are, so that
// neither focus nor selection is lost. `make` makes the node of a key, `update` writes into it.
export function keyed(parent, items, key, make, update) {
  const names = items.map((item) => String(key(item)));
  const wanted = new Set(names);
  const known = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) {
      known.set(child.dataset.key, child);
    } else {
      child.remove();
    }
  }
  let before = parent.firstElementChild;
  items.forEach((item, at) => {
    let node = known.get(names[at]);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = names[at];
    }
    if (node === before) {
      before = before.nextElementSibling;
    } else {
      parent.insertBefore(node, before);
    }
    update(node, item);
  });
}

// A table whose columns say how to fill a cell. Its roles are said as well: on narrow screens rows
// are shown as cards, and would lose them.
export class Table {
  constructor(table, columns, key, empty) {
    Object.assign(this, { columns, key, empty });
    table.setAttribute("role", "table");
    const heads = columns.map(({ head, className }) =>
      el("th", { scope: "col", role: "columnheader", class: className }, head));
    const row = el("tr", { role: "row" }, ...heads);
    this.body = el("tbody", { role: "rowgroup" });
    table.append(el("thead", { role: "rowgroup" }, row), this.body);
  }

  update(items) {
    if (items.length === 0) {
      const cell = el("td", { class: "empty", role: "cell", colspan: this.columns.length });
      const row = el("tr", { role: "row", "data-key": "" }, cell);
      setText(cell, this.empty);
      this.body.replaceChildren(row);
      return;
    }
    const make = () => this.row();
    keyed(this.body, items, this.key, make, (row, item) => this.fill(row, item));
  }

  row() {
    const cells = this.columns.map(({ head, className }) =>
      el("td", { role: "cell", class: className, "data-label": head }));
    return el("tr", { role: "row" }, ...cells);
  }

  fill(row, item) {
    this.columns.forEach(({ text, fill }, at) => {
      const cell = row.children[at];
      if (fill) {
        fill(cell, item);
      } else {
        setText(cell, text(item));
      }
    });
  }
}

// Pairs of a name and a value.
export function figures(list, pairs) {
  const make = ([name]) => el("div", {}, el("dt", {}, name), el("dd"));
  keyed(list, pairs, ([name]) => name, make, (node, [, value]) => setText(node.lastChild, value));
}

// ---- bars

const PARTS = ["done", "failed", "cancelled", "running"];

// How far some tasks are, as a bar and in words.
export function bar(node, counts, total) {
  if (node.childElementCount === 0) {
    node.append(...PARTS.map((state) =>
      svg("rect", { class: `part-${state}`, y: 0, height: "100%" })));
  }
  let from = 0;
  PARTS.forEach((state, at) => {
    const part = total > 0 ? (counts[state] / total) * 100 : 0;
    setAttribute(node.children[at], "x", `${from.toFixed(3)}%`);
    setAttribute(node.children[at], "width", `${part.toFixed(3)}%`);
    from += part;
  });
  setAttribute(node, "aria-label", progressText(counts, total));
}

export function progressText(counts, total) {
  const parts = [`${count(counts.done)} of ${count(total)} done`];
  for (const state of ["failed", "cancelled", "running"]) {
    if (counts[state] > 0) {
      parts.push(`${count(counts[state])} ${state}`);
    }
  }
  return parts.join(", ");
}
