// What there is to know of one task.

import { ago, bytes, el, moment, span } from "./view.js";

// Everything that is known of a task, as nodes. `now` is the time at the server.
export function details(task, now) {
  const { end } = task;
  const pairs = [
    ["Name", task.name],
    ["Runs", `${task.runs}${task.cwd ? ` in ${task.cwd}` : ""}`],
    ["Asks for", needsText(task)],
    ["Priority", task.priority === 0 ? "" : String(task.priority)],
    ["Tries", `${task.attempt} given out, ${task.failures} failed, ${task.attempts_max} allowed`],
    ["Submitted", `${moment(task.submitted_ns)} (${ago(task.submitted_ns, now)})`],
    ["Given out", task.leased_ns ? `${moment(task.leased_ns)} to ${task.worker}` : ""],
    ["Tried again", task.state === "delayed" ? moment(task.due_ns) : ""],
    ["Ended", task.ended_ns ? moment(task.ended_ns) : ""],
    ["How", end ? end.reason : ""],
    ["Took", end ? tookText(end) : ""],
    ["Failed at", task.failed_on.join(", ")],
  ];
  const shown = pairs.filter(([, text]) => text !== "");
  const list = shown.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]);
  const parts = [el("dl", {}, ...list)];
  parts.push(...block("Command", task.command, 0));
  if (end) {
    parts.push(...block("Standard error", end.stderr, end.stderr_bytes));
    parts.push(...block("Standard output", end.stdout, end.stdout_bytes));
  }
  return parts;
}

function tookText(end) {
  return `${span(end.ran_ns)}, ${span(end.cpu_ns)} of a core, ${bytes(end.memory_bytes)}`;
}

function needsText(task) {
  const parts = [`${task.cores} ${task.cores === 1 ? "core" : "cores"}`];
  if (task.memory_bytes > 0) {
    parts.push(bytes(task.memory_bytes));
  }
  if (task.timeout_ms > 0) {
    parts.push(`at most ${span(task.timeout_ms * 1e6)}`);
  }
  return parts.join(", ");
}

// A text of a task, which wrote so many bytes of it.
function block(name, text, written) {
  if (text === "") {
    const isLost = written > 0;
    return isLost ? [el("p", { class: "note" }, `${name}: ${bytes(written)}, not kept`)] : [];
  }
  const size = new TextEncoder().encode(text).length;
  const isTail = written > size;
  const note = isTail ? ` (the end of ${bytes(written)})` : "";
  return [
    el("h3", {}, `${name}${note}`),
    el("pre", { tabindex: "0", role: "region", "aria-label": name }, text),
  ];
}
