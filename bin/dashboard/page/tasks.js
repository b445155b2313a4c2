// The list of tasks: filters, pages, what became of each, and orders.

import { details } from "./details.js";
import { $, count, el, keyed, setAttribute, setText, span, Table, tasksText } from "./view.js";

const PAGE = 50;
// The list is asked for again no sooner than this after the last time.
const PAUSE_MS = 1000;
const TYPING_MS = 250;
const ALL_STATES = ["blocked", "delayed", "ready", "running", "done", "failed", "cancelled"];
const WORDS = { cancel: "cancelled", retry: "tried again", requeue: "put back", remove: "removed" };
const FINAL = new Set(["done", "failed", "cancelled"]);

// The orders that a task in some state can be given.
function ordersOf(state) {
  if (state === "failed" || state === "cancelled") {
    return ["retry", "remove"];
  }
  if (state === "done") {
    return ["requeue", "remove"];
  }
  return state === "running" ? ["cancel", "requeue"] : ["cancel"];
}

function title(word) {
  return word[0].toUpperCase() + word.slice(1);
}

// Asks the server. What it says against it is the error.
async function ask(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    throw new Error(answer?.error ?? `the server answers with status ${response.status}`);
  }
  return answer;
}

// Gives an order. Without this header nobody's are taken.
export function order(path, body) {
  const headers = { "X-Punctual": "1", "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: body && JSON.stringify(body) });
}

export class TaskList {
  constructor(now) {
    // Moments in nanoseconds since 1970 by the clock of the server.
    this.now = now;
    this.states = new Set();
    // Where the pages before this one begin.
    this.pages = [""];
    this.next = null;
    this.tasks = [];
    // What is known of the tasks that are open.
    this.open = new Map();
    this.jobs = [];
    this.workers = [];
    this.askedAt = 0;
    this.seen = "";
    this.makeTable();
    this.makeStates();
    this.listen();
    this.readAddress();
  }

  makeTable() {
    const columns = [
      { head: "Task", className: "number", fill: (cell, task) => this.fillId(cell, task) },
      { head: "State", fill: (cell, task) => this.fillState(cell, task) },
      { head: "Command", className: "wide", fill: (cell, task) => this.fillCommand(cell, task) },
      { head: "Job", text: (task) => task.job },
      { head: "Worker", text: (task) => task.worker },
      { head: "Tries", className: "number", text: (task) => `${task.attempt}` },
      { head: "Ran", className: "number", text: (task) => this.ranText(task) },
      { head: "Orders", className: "buttons", fill: (cell, task) => this.fillOrders(cell, task) },
    ];
    this.table = new Table($("tasks-table"), columns, (task) => task.id, "No task matches.");
    this.columns = columns.length;
  }

  makeStates() {
    const button = (state, text) => {
      const number = el("span");
      const toggle = el("button", { type: "button", "aria-pressed": "false", "data-state": state });
      toggle.append(`${text} `, number);
      toggle.addEventListener("click", () => this.toggle(state));
      return toggle;
    };
    const texts = ALL_STATES.map((state) => [state, title(state)]);
    $("states").append(...[["", "All"], ...texts].map(([state, text]) => button(state, text)));
  }

  listen() {
    let typing = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.changed(), TYPING_MS);
    });
    $("filter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.changed();
    });
    $("job").addEventListener("change", () => this.changed());
    $("worker").addEventListener("change", () => this.changed());
    $("clear").addEventListener("click", () => this.clear());
    $("first").addEventListener("click", () => this.turn([""]));
    $("previous").addEventListener("click", () => this.turn(this.pages.slice(0, -1)));
    $("next").addEventListener("click", () => this.turn([...this.pages, this.next]));
    for (const verb of ["retry", "cancel", "remove"]) {
      $(`${verb}-all`).addEventListener("click", () => this.orderAll(verb));
    }
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target.closest("input, select, textarea, dialog");
      const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
      if (event.key === "/" && isPlain && !isTyping) {
        event.preventDefault();
        $("search").focus();
      }
    });
  }

  // ---- filters

  // What is filtered by is part of the address, so that it can be kept and passed on.
  readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const states = (wanted.get("state") ?? "").split(",");
    this.states = new Set(states.filter((state) => ALL_STATES.includes(state)));
    $("search").value = wanted.get("search") ?? "";
    for (const name of ["job", "worker"]) {
      const value = wanted.get(name);
      if (value) {
        $(name).append(el("option", { value }, value));
        $(name).value = value;
      }
    }
    this.showFilter();
  }

  writeAddress() {
    const hash = this.filter().toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  }

  filter() {
    const filter = new URLSearchParams();
    const parts = {
      state: [...this.states].join(","),
      search: $("search").value,
      job: $("job").value,
      worker: $("worker").value,
    };
    for (const [name, value] of Object.entries(parts)) {
      if (value !== "") {
        filter.set(name, value);
      }
    }
    return filter;
  }

  toggle(state) {
    if (state === "") {
      this.states.clear();
    } else if (!this.states.delete(state)) {
      this.states.add(state);
    }
    this.changed();
  }

  clear() {
    this.states.clear();
    for (const name of ["search", "job", "worker"]) {
      $(name).value = "";
    }
    this.changed();
  }

  // Shows the tasks of a job, for those who choose it elsewhere.
  showJob(job) {
    this.clear();
    $("job").value = String(job);
    this.changed();
    $("tasks").focus();
  }

  changed() {
    this.pages = [""];
    this.showFilter();
    this.writeAddress();
    this.refresh();
  }

  turn(pages) {
    this.pages = pages;
    this.refresh();
  }

  showFilter() {
    for (const button of $("states").children) {
      const { state } = button.dataset;
      const isOn = state === "" ? this.states.size === 0 : this.states.has(state);
      setAttribute(button, "aria-pressed", isOn);
    }
    setText($("match"), this.matchText());
  }

  matchText() {
    const parts = ["all tasks"];
    if (this.states.size > 0) {
      parts.push(`that are ${[...this.states].join(" or ")}`);
    }
    const chosen = (id) => $(id).selectedOptions[0]?.textContent;
    if ($("job").value !== "") {
      parts.push(`of job ${chosen("job")}`);
    }
    if ($("worker").value !== "") {
      parts.push(`at worker ${chosen("worker")}`);
    }
    if ($("search").value !== "") {
      parts.push(`with \u201c${$("search").value}\u201d`);
    }
    return parts.join(" ");
  }

  // ---- what comes with a summary

  update(tasks) {
    const { counts, total, jobs, workers } = tasks;
    for (const button of $("states").children) {
      const { state } = button.dataset;
      setText(button.lastChild, count(state === "" ? total : counts[state]));
    }
    const options = (id, all, known) => this.options($(id), all, known);
    options("job", "all jobs", jobs.map(({ id, name }) => [String(id), name]));
    options("worker", "any worker", workers.map(({ name }) => [name, name]));
    setText($("match"), this.matchText());
    // Nothing has happened to any task while no count has changed, but for those at workers.
    const seen = JSON.stringify([counts, workers.map(({ running, ahead }) => [running, ahead])]);
    if (seen !== this.seen) {
      this.seen = seen;
      this.refreshSoon();
    }
  }

  // One that is chosen stays, even if it is not among those that are shown.
  options(select, all, known) {
    const chosen = select.value;
    const names = new Map([["", all], ...known]);
    if (!names.has(chosen)) {
      names.set(chosen, select.selectedOptions[0]?.textContent ?? chosen);
    }
    const make = ([value]) => el("option", { value });
    const update = (option, [, name]) => setText(option, name);
    keyed(select, [...names], ([value]) => value, make, update);
    select.value = chosen;
  }

  // ---- the list

  refreshSoon() {
    if (this.timer) {
      return;
    }
    const pause = Math.max(0, this.askedAt + PAUSE_MS - performance.now());
    this.timer = setTimeout(() => this.refresh(), pause);
  }

  async refresh() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.under?.abort();
    const under = new AbortController();
    this.under = under;
    this.askedAt = performance.now();
    const query = this.filter();
    query.set("limit", PAGE);
    if (this.pages.at(-1) !== "") {
      query.set("from", this.pages.at(-1));
    }
    try {
      const { tasks, next } = await ask(`/api/tasks?${query}`, { signal: under.signal });
      this.tasks = tasks;
      this.next = next;
      this.show();
      if (this.isOld) {
        this.isOld = false;
        this.say("");
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        this.isOld = true;
        this.say(`The list is not up to date: ${error.message}`, true);
        this.seen = "";
      }
    }
  }

  show() {
    // A page that has become empty is not the end of the list.
    if (this.tasks.length === 0 && this.pages.length > 1) {
      this.turn(this.pages.slice(0, -1));
      return;
    }
    const ids = new Set(this.tasks.map(({ id }) => id));
    for (const id of [...this.open.keys()]) {
      if (!ids.has(id)) {
        this.open.delete(id);
      }
    }
    this.closeRows();
    this.table.update(this.tasks);
    for (const task of this.tasks) {
      if (this.open.has(task.id)) {
        this.showDetails(task);
      }
    }
    $("first").disabled = this.pages.length === 1;
    $("previous").disabled = this.pages.length === 1;
    $("next").disabled = this.next === null;
    const [from, to] = [this.tasks[0]?.id, this.tasks.at(-1)?.id];
    const text = from === undefined ? "" : `page ${this.pages.length}: ${from} to ${to}`;
    setText($("page-text"), text);
  }

  say(text, isBad = false) {
    setText($("message"), text);
    $("message").classList.toggle("bad", isBad);
  }

  // ---- rows

  fillId(cell, task) {
    const button = cell.firstChild ?? cell.appendChild(
      el("button", { type: "button", class: "link", onclick: () => this.toggleDetails(task.id) }));
    setText(button, task.id);
    const isOpen = this.open.has(task.id);
    setAttribute(button, "aria-expanded", isOpen);
    setAttribute(button, "aria-label", `Task ${task.id}: ${isOpen ? "hide" : "show"} details`);
  }

  fillState(cell, task) {
    const node = cell.firstChild ?? cell.appendChild(el("span"));
    setAttribute(node, "class", `state state-${task.state}`);
    setText(node, task.is_ahead ? "at worker" : task.state);
    const reason = task.end && !(task.end.how === "exited" && task.end.code === 0);
    const note = cell.children[1] ?? cell.appendChild(el("div", { class: "note" }));
    note.hidden = !reason;
    setText(note, reason ? task.end.reason : "");
  }

  fillCommand(cell, task) {
    const name = cell.children[0] ?? cell.appendChild(el("div"));
    const command = cell.children[1] ?? cell.appendChild(el("div", { class: "code" }));
    name.hidden = task.name === "";
    setText(name, task.name);
    const isCut = task.command.length > 200;
    setText(command, isCut ? `${task.command.slice(0, 200)}\u2026` : task.command);
  }

  fillOrders(cell, task) {
    const make = (verb) => el("button", {
      type: "button",
      "aria-label": `${title(verb)} task ${task.id}`,
      onclick: () => this.orderOne(verb, task.id),
    }, title(verb));
    keyed(cell, ordersOf(task.state), (verb) => verb, make, () => {});
  }

  ranText(task) {
    if (task.state === "running" && !task.is_ahead && task.leased_ns) {
      return `since ${span(Math.max(0, this.now() - task.leased_ns))}`;
    }
    return task.end && FINAL.has(task.state) ? span(task.end.ran_ns) : "";
  }

  // ---- details

  toggleDetails(id) {
    const task = this.tasks.find((task) => task.id === id);
    if (this.open.delete(id) || task === undefined) {
      this.show();
      return;
    }
    this.open.set(id, { of: "", whole: null, error: null });
    this.show();
  }

  rowOf(id) {
    return this.table.body.querySelector(`tr[data-key="${CSS.escape(id)}"]`);
  }

  // Rows of details are not the table's; they are taken out while it puts its rows in order.
  closeRows() {
    for (const row of this.table.body.querySelectorAll("tr.details")) {
      row.remove();
    }
  }

  showDetails(task) {
    const known = this.open.get(task.id);
    known.row ??= el("tr", { class: "details", role: "row" },
      el("td", { colspan: this.columns, role: "cell" }));
    this.rowOf(task.id).after(known.row);
    // Only what has happened since makes it worth asking again.
    const of = `${task.state} ${task.attempt} ${task.ended_ns}`;
    if (known.of !== of) {
      known.of = of;
      this.askDetails(task.id, known);
    }
  }

  async askDetails(id, known) {
    const cell = known.row.firstChild;
    try {
      const whole = await ask(`/api/tasks/${encodeURIComponent(id)}`);
      cell.replaceChildren(...details(whole, this.now()));
    } catch (error) {
      known.of = "";
      cell.replaceChildren(el("p", {}, error.message));
    }
  }

  // ---- orders

  async orderOne(verb, id) {
    const path = `/api/tasks/${encodeURIComponent(id)}/${verb}`;
    const done = (changed) => changed === 1
      ? `Task ${id} is ${WORDS[verb]}.`
      : `Task ${id} has moved on, and was left as it is.`;
    await this.give(path, undefined, done);
    // The button that was pressed may be gone with what it was for.
    if (document.activeElement === document.body) {
      this.rowOf(id)?.querySelector("button").focus();
    }
  }

  async orderAll(verb) {
    const match = this.matchText();
    if (!await confirmed(`${title(verb)} ${match}?`, title(verb))) {
      return;
    }
    const job = $("job").value;
    const body = {
      states: [...this.states],
      search: $("search").value,
      worker: $("worker").value,
      all: true,
      ...(job === "" ? {} : { job: Number(job) }),
    };
    const done = (changed) => `${tasksText(changed)} ${WORDS[verb]}.`;
    await this.give(`/api/select/${verb}`, body, done);
  }

  async give(path, body, words) {
    try {
      const { changed } = await order(path, body);
      this.say(words(changed));
    } catch (error) {
      this.say(`Not done: ${error.message}`, true);
    }
    await this.refresh();
  }
}

// Asks before something is done to many.
export function confirmed(question, yes) {
  const dialog = $("confirm");
  setText($("confirm-text"), question);
  setText($("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  $("confirm-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
