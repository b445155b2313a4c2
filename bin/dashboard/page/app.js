// The page: listens to the server and shows what it says.

import { Chart } from "./charts.js";
import { confirmed, order, TaskList } from "./tasks.js";
import {
  $, ago, bar, bytes, compact, count, el, figures, progressText, rate, setAttribute, setText, span,
  svg, Table,
} from "./view.js";

const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 5000;
// The server says something at least every two seconds; when it is silent for so long it is gone.
const SILENCE_MS = 15 * 1000;
// A page that nobody sees listens no longer than this.
const UNSEEN_MS = 60 * 1000;
const ANNOUNCE_MS = 15 * 1000;

// What was heard last, and when by the clock of the page.
let summary = null;
let heardAt = 0;
// When the connection last showed that it is one, or was begun.
let aliveAt = 0;

// The time at the server, in nanoseconds since 1970.
function now() {
  const since = (performance.now() - heardAt) * 1e6;
  return summary === null ? Date.now() * 1e6 : summary.now_ns + since;
}

// ---- the connection

let source = null;
let retryMs = RETRY_MIN_MS;
let retryTimer = 0;

function say(state, text) {
  setAttribute($("connection"), "data-state", state);
  setText($("connection"), text);
  document.body.classList.toggle("stale", state === "lost");
}

function connect() {
  disconnect();
  aliveAt = performance.now();
  source = new EventSource("/api/events");
  source.addEventListener("summary", (event) => {
    retryMs = RETRY_MIN_MS;
    heardAt = performance.now();
    aliveAt = heardAt;
    say("live", "live");
    show(JSON.parse(event.data));
  });
  source.addEventListener("error", lost);
}

function disconnect() {
  clearTimeout(retryTimer);
  source?.close();
  source = null;
}

// The server is gone: it is tried again until it is back.
function lost() {
  disconnect();
  say("lost", "not connected, trying again");
  retryTimer = setTimeout(tryAgain, retryMs);
  retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
}

async function tryAgain() {
  try {
    const response = await fetch("/api/summary", { cache: "no-store" });
    if (response.status === 401 || response.status === 421) {
      say("lost", "the server wants its token: load this page again");
      return;
    }
    connect();
  } catch {
    lost();
  }
}

let unseenTimer = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(unseenTimer);
  if (document.hidden) {
    unseenTimer = setTimeout(() => {
      disconnect();
      say("paused", "paused while nobody looks");
    }, UNSEEN_MS);
  } else if (source === null && $("connection").dataset.state === "paused") {
    connect();
  }
});

// ---- what is always there

const tasks = new TaskList(now);

const charts = { work: null, time: null };

function number(head, text) {
  return { head, className: "number", text };
}

const jobsTable = new Table($("jobs-table"), [
  { head: "Job", fill: fillJob },
  { head: "Progress", className: "wide", fill: fillProgress },
  number("Tasks", (job) => count(job.tasks)),
  number("To do", (job) => count(job.counts.blocked + job.counts.delayed + job.counts.ready)),
  number("Running", (job) => count(job.counts.running)),
  number("Done", (job) => count(job.counts.done)),
  number("Failed", (job) => count(job.counts.failed)),
  number("Cancelled", (job) => count(job.counts.cancelled)),
  { head: "Opened", className: "line", text: (job) => ago(job.opened_ns, now()) },
], (job) => job.id, "No job yet.");

function fillProgress(cell, { counts, tasks: total }) {
  const node = cell.firstChild ?? cell.appendChild(svg("svg", { class: "bar", role: "img" }));
  bar(node, counts, total);
}

function fillJob(cell, job) {
  const button = cell.firstChild ?? cell.appendChild(
    el("button", { type: "button", class: "link", onclick: () => tasks.showJob(job.id) }));
  setText(button, job.name === "" ? `job ${job.id}` : job.name);
}

const workersTable = new Table($("workers-table"), [
  { head: "Worker", fill: fillWorker },
  { head: "State", fill: (cell, { state }) => {
    const node = cell.firstChild ?? cell.appendChild(el("span"));
    setAttribute(node, "class", `state state-${state}`);
    setText(node, state);
  } },
  number("Running", (worker) => `${count(worker.running)} of ${count(worker.slots)}`),
  number("Ahead", (worker) => count(worker.ahead)),
  number("Cores", (worker) => `${worker.cores_used.toFixed(1)} of ${worker.cores.toFixed(1)}`),
  number("Memory free", memoryText),
  number("Done", (worker) => count(worker.done)),
  number("Failed", (worker) => count(worker.failed)),
  number("Lost", (worker) => count(worker.lost)),
  number("Mean task", (worker) => (worker.mean_ns > 0 ? span(worker.mean_ns) : span(null))),
  { head: "Heard", className: "line", text: (worker) => ago(worker.heard_ns, now()) },
  { head: "Orders", fill: fillWorkerOrders },
], (worker) => worker.name, "No worker is here. Start one with: punctual task worker");

function memoryText(worker) {
  return `${bytes(worker.memory_free_bytes)} of ${bytes(worker.memory_bytes)}`;
}

function fillWorker(cell, worker) {
  const name = cell.children[0] ?? cell.appendChild(el("div"));
  const where = cell.children[1] ?? cell.appendChild(el("div", { class: "note" }));
  setText(name, worker.name);
  const host = worker.host === "" ? "" : `${worker.host}, `;
  setText(where, `${host}process ${worker.pid}`);
}

function fillWorkerOrders(cell, { name, state }) {
  const button = cell.firstChild ?? cell.appendChild(el("button", {
    type: "button",
    "aria-label": `Stop worker ${name}`,
    onclick: () => stopWorker(name),
  }, "Stop"));
  button.disabled = state === "lost" || state === "draining";
}

async function stopWorker(name) {
  if (!await confirmed(`Have worker ${name} finish what it runs, and stop?`, "Stop")) {
    return;
  }
  try {
    await order(`/api/workers/${encodeURIComponent(name)}/stop`);
    tasks.say(`Worker ${name} finishes what it runs, and stops.`);
  } catch (error) {
    tasks.say(`Not done: ${error.message}`, true);
  }
}

// ---- the engine

const counter = (name) => (block) => block.counters[name] ?? 0;
const links = (block) => counter("links_opened")(block) - counter("links_closed")(block);
const of = (head, name) => number(head, (block) => count(counter(name)(block)));
const perSecond = (head) => number(head, (block) => rate(block.rate_1s));
const size = (head, name) => number(head, (block) => bytes(counter(name)(block)));
const part = { head: "Part", text: (block) => block.name };
const journal = [
  { head: "Journal", className: "number", text: journalText },
  number("Longest lag", (block) => span(counter("journal_lag_max_ns")(block) || null)),
];

function journalText(block) {
  const written = counter("journal_bytes")(block);
  if (counter("journal_full")(block) > 0) {
    return "full";
  }
  return written > 0 ? bytes(written) : "none";
}

const blockTables = {
  shard: ["shards", [
    part, perSecond("Done a second"), of("Held", "held"),
    number("Links", (block) => count(links(block))), of("Committed", "committed"),
    of("Aborted", "aborted"), of("Late", "late"), of("Busy", "busy"), of("Keys", "keys"),
    size("Store", "store_bytes"), ...journal,
  ]],
  coordinator: ["coordinators", [
    part, perSecond("Done a second"), of("In flight", "in_flight"),
    number("Mean time", (block) => latencyText(block)), of("Committed", "committed"),
    of("Aborted", "aborted"), of("Refused", "refused"), of("Unknown", "unknown"),
    of("Late", "late"), of("Busy", "busy"), of("Retries", "retries"),
  ]],
  queue: ["queues", [
    part, perSecond("Ended a second"), of("Unfinished", "tasks_unfinished"),
    size("Memory", "task_bytes"), number("Links", (block) => count(links(block))),
    of("Given out", "tasks_leased"), of("Expired", "tasks_expired"),
    of("Returned", "tasks_returned"), of("Recalled", "tasks_recalled"),
    of("Held workers", "task_holds"), ...journal,
  ]],
};

function latencyText(block) {
  const inFlight = counter("in_flight")(block);
  return span(block.rate_1s > 0 && inFlight > 0 ? (inFlight / block.rate_1s) * 1e9 : null);
}

for (const [kind, [id, columns]] of Object.entries(blockTables)) {
  blockTables[kind] = [id, new Table($(`${id}-table`), columns, (block) => block.name, "None.")];
}

const delaysTable = new Table($("delays-table"), [
  { head: "Shard", text: (row) => String(row.shard) },
  { head: "Link", text: (row) => (row.is_up ? "up" : "down") },
  number("Estimate", (row) => span(row.estimate_ns)),
  number("Least", (row) => span(row.min_ns)),
  number("Median", (row) => span(row.p50_ns)),
  number("99 %", (row) => span(row.p99_ns)),
  number("Round trip", (row) => span(row.rtt_min_ns)),
  number("Probes", (row) => count(row.sent)),
  number("Lost", (row) => count(row.lost)),
], (row) => row.shard, "None.");

// ---- a summary

function show(next) {
  // Another version has another page.
  if (summary !== null && summary.version !== next.version) {
    location.reload();
    return;
  }
  summary = next;
  setText($("title"), next.title || "Punctual");
  setText($("version"), `Punctual ${next.version}, started ${ago(next.started_ns, next.now_ns)}`);
  const farm = next.tasks && next.tasks.error === null ? next.tasks : null;
  $("trouble").hidden = !next.tasks?.error;
  setText($("trouble"), next.tasks?.error ?? "");
  for (const id of ["jobs", "tasks", "workers"]) {
    $(id).hidden = farm === null;
  }
  $("overview").hidden = farm === null && next.engine === null;
  if (farm !== null) {
    showFarm(farm);
  } else if (next.engine !== null) {
    showEngine(next.engine);
  }
  showBlocks(next.blocks);
  $("delays").hidden = next.delays.length === 0;
  delaysTable.update(next.delays);
  $("history").hidden = charts.work === null;
}

function showFarm(farm) {
  const { counts, total, unfinished } = farm;
  bar($("progress"), counts, total);
  $("progress").toggleAttribute("hidden", false);
  const ended = (farm.rates_10s.done ?? 0) + (farm.rates_10s.failed ?? 0);
  const isMoving = unfinished > 0 && ended > 0;
  const left = isMoving ? `, about ${span((unfinished / ended) * 1e9)} left` : "";
  const text = progressText(counts, total) + left;
  setText($("progress-text"), text);
  document.title = `${count(counts.done)} of ${count(total)} \u2013 ${summary.title || "Punctual"}`;
  announce(`${text}.`);
  figures($("figures"), [
    ["Done a second", rate(farm.rates_1s.done)],
    ["Failed a second", rate(farm.rates_1s.failed)],
    ["Submitted a second", rate(farm.rates_1s.submitted)],
    ["Mean run", span(farm.run_ns)],
    ["Wait ahead", span(farm.wait_ns)],
    ["Waits (50 %, 99 %)", spread(farm.waits_10s)],
    ["Given out to ended (50 %, 99 %)", spread(farm.leases_10s)],
  ]);
  charts.work ??= new Chart($("charts"), "Tasks a second", [
    { name: "done", className: "curve series-a" },
    { name: "failed", className: "curve series-b" },
    { name: "submitted", className: "curve series-c" },
  ], rate, compact);
  charts.time ??= new Chart($("charts"), "Time of a task", [
    { name: "mean run", className: "curve series-a" },
    { name: "longest waits (99 %)", className: "curve series-b" },
    { name: "longest from given out to ended (99 %)", className: "curve series-c" },
  ], span, span);
  charts.work.push([farm.rates_1s.done, farm.rates_1s.failed, farm.rates_1s.submitted]);
  charts.time.push([farm.run_ns, farm.waits_10s?.p99_ns ?? null, farm.leases_10s?.p99_ns ?? null]);
  jobsTable.update(farm.jobs);
  setText($("jobs-more"), moreText(farm.jobs.length, farm.jobs_total, "jobs"));
  workersTable.update(farm.workers);
  setText($("workers-more"), moreText(farm.workers.length, farm.workers_total, "workers"));
  tasks.update(farm);
}

// Half are no longer than the first, all but one in a hundred no longer than the second.
function spread(times) {
  return times ? `${span(times.p50_ns)}, ${span(times.p99_ns)}` : span(null);
}

function moreText(shown, total, what) {
  return total > shown ? `${count(shown)} of ${count(total)} ${what} are shown.` : "";
}

function showEngine(engine) {
  const worst = Math.max(0, ...summary.delays.map((row) => row.p99_ns ?? 0));
  $("progress").toggleAttribute("hidden", true);
  document.title = `${rate(engine.rate_1s)} a second \u2013 ${summary.title || "Punctual"}`;
  announce(`${rate(engine.rate_1s)} transactions a second.`);
  figures($("figures"), [
    ["Transactions a second", rate(engine.rate_1s)],
    ["In flight", count(engine.in_flight)],
    ["Mean time", span(engine.latency_ns)],
  ]);
  charts.work ??= new Chart($("charts"), "Transactions a second", [
    { name: "committed or aborted", className: "curve series-a" },
  ], rate, compact);
  charts.time ??= new Chart($("charts"), "Latency", [
    { name: "mean of transactions", className: "curve series-a" },
    { name: "longest delay to a shard (99 %)", className: "curve series-b" },
  ], span, span);
  charts.work.push([engine.rate_1s]);
  charts.time.push([engine.latency_ns, worst > 0 ? worst : null]);
}

function showBlocks(blocks) {
  for (const [kind, [id, table]] of Object.entries(blockTables)) {
    const rows = blocks.filter((block) => block.kind === kind);
    $(id).hidden = rows.length === 0;
    table.update(rows);
  }
}

// Tells those who listen to the page how far things are, but not all the time.
let announcedAt = 0;
function announce(text) {
  if (performance.now() - announcedAt > ANNOUNCE_MS && $("announce").textContent !== text) {
    announcedAt = performance.now();
    setText($("announce"), text);
  }
}

// ---- begin

// A token in the address has done its work; it need not stay there for all to see.
if (new URLSearchParams(location.search).has("token")) {
  history.replaceState(null, "", location.pathname + location.hash);
}
setInterval(() => {
  if (source !== null && performance.now() - aliveAt > SILENCE_MS) {
    lost();
  }
}, 1000);
connect();
