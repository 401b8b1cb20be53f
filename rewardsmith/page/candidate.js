/* One candidate: its code, its curves, what was asked and answered, and what went wrong. */

const chosen = {};  // what the reader chose, by the id of the control

function drawCandidate(row, data) {
  const id = anchor(row.label);
  const best = row.label === data.best;
  const summary = el("summary", { id: `${id}-summary` },
    el("span.label", {}, row.label),
    chip(row, data),
    row.fitness && el("span.fitness", {}, `${measure(data.kind)} ${interval(row.fitness, data.kind)}`),
    !row.fitness && row.fault && el("span.message", {}, row.fault.message),
    row.fitness && bar(row.fitness, rangeOf(data.candidates.map((item) => item.fitness), data.kind), best),
    row.alarms.length > 0 && el("span.chip.alarm", {}, count(row.alarms.length, "alarm")),
  );
  return unfolding("details.candidate", id, summary, () => drawBody(row, data, id));
}

function chip(row, data) {
  if (row.label === data.best) return el("span.chip.best", {}, data.state.name === "finished" ? "★ winner" : "★ best so far");
  if (row.status === "ok") return el("span.chip", {}, "trained");
  const going = stateOf(row) === "going";
  const share = row.status === "training" ? ` ${Math.round(100 * row.progress)} %` : "";
  return el(`span.chip.${going ? "going" : "fault"}`, {}, spaced(row.status) + share);
}

function drawBody(row, data, id) {
  const { curves } = row;
  return el("div.body", {},
    row.fault && drawFault(row, id),
    row.alarms.length > 0 && el("div.notice.alarm", {}, el("h4", {}, "Alarms"),
      el("ul", {}, row.alarms.map((alarm) => el("li", {}, el("strong", {}, alarm.name), `: ${alarm.message}`)))),
    el(`div.columns${curves ? "" : ".one"}`, {},
      el("div", {}, el("h4", {}, "Reward"), drawCode(row, id), drawFacts(row, data), !curves && el("p.hint.none", {}, noCurves(row))),
      curves && el("div", {}, drawAlarmPlot(row, data, id), drawComponents(row, id))),
    drawTexts(row, id),
  );
}

function noCurves(row) {
  if (row.left_out.includes("curves")) return leftOut("The curves");
  if (stateOf(row) === "going") return "No look at its policy yet.";
  return ["crashed", "timeout", "diverged"].includes(row.status) ? "No curves were kept of its training." : "It was not trained.";
}

const leftOut = (what) => `${what} of this candidate would make the page too large: see the folder of the run.`;

function drawFault(row, id) {
  const { fault } = row;
  const kind = el("code", {}, fault.reason);
  return el("div.notice.fault", {},
    el("h4", {}, spaced(fault.status)), el("p", {}, fault.message, " (", kind, ")"),
    fault.source_line && el("p.offending", {}, el("span.hint", {}, `line ${fault.line} `), el("code", {}, fault.source_line)),
    fault.traceback && fold(`${id}-traceback`, "Traceback of the worker", () => text(fault.traceback, "traceback"), ".quiet"));
}

/* -- code -------------------------------------------------------------------------------------- */

function drawCode(row, id) {
  if (!row.code) return el("p.hint", {}, row.left_out.includes("code") ? leftOut("The code") : "No code was found in the reply.");
  const key = `${id}-view`;
  const box = el("div", {});
  const views = [["code", "Code"]];
  if (row.diff) views.push(["diff", `Changes from ${row.diff.parent}`]);
  const draw = () => {
    const view = row.diff ? chosen[key] || "code" : "code";
    box.replaceChildren(
      views.length > 1 ? el("div.choices", { role: "group", "aria-label": "What to show" }, views.map(([name, title]) => el("button", {
        id: `${key}-${name}`, type: "button", "aria-pressed": String(name === view),
        onclick: () => { chosen[key] = name; draw(); document.getElementById(`${key}-${name}`).focus(); },
      }, title))) : "",
      view === "diff" ? drawDiff(row.diff.lines, id) : drawSource(row, id),
    );
  };
  draw();
  return box;
}

function drawSource(row, id) {
  const lines = [[]];
  for (let place = 0; place < row.code.length; place += 2) {
    const [name, content] = [row.code[place], row.code[place + 1]];
    content.split("\n").forEach((part, index) => {
      if (index) lines.push([]);
      if (part) lines.at(-1).push(name ? el(`span.${name}`, {}, part) : part);
    });
  }
  if (!lines.at(-1).length) lines.pop();
  const blamed = row.fault ? row.fault.line : 0;
  return el("pre.code", { id: `${id}-code`, tabindex: "0", role: "region", "aria-label": `code of ${row.label}` },
    el("code", {}, lines.map((parts, index) => el(`span.line${index + 1 === blamed ? ".blamed" : ""}`, { "data-line": index + 1 }, parts, "\n"))));
}

function drawDiff(lines, id) {
  if (!lines.length) return el("p.hint", {}, "The code is the same.");
  const kinds = { "+": "added", "-": "removed", "@": "place" };
  return el("pre.code.diff", { id: `${id}-diff`, tabindex: "0", role: "region", "aria-label": "changes" },
    el("code", {}, lines.map((line) => el(`span.line.${kinds[line[0]] || "same"}`, {}, line, "\n"))));
}

/* -- facts -------------------------------------------------------------------------------------- */

function drawFacts(row, data) {
  const link = (label) => el("a", { href: `#${anchor(label)}`, onclick: (event) => { event.preventDefault(); jump(label); } }, label);
  const facts = [
    ["parents", row.parents.length && row.parents.flatMap((label, index) => [index ? ", " : "", data.candidates.some((item) => item.label === label) ? link(label) : label])],
    ["written by", row.origin === "provider" ? data.cost.provider || "provider" : row.origin],
    ["replies", row.attempts > 1 && `${row.attempts}, the last one counts`],
    ["training seeds", row.scores.length && `${row.scores.length}: ${row.scores.map((value) => score(value, data.kind)).join(", ")}`],
    ["episodes", row.fitness && `${row.fitness.episodes}, of ${short(row.fitness.episode_length)} steps on average`],
    ["steps", row.timesteps && whole(row.timesteps)],
    ["time", row.seconds && duration(row.seconds)],
    ["preference", row.preference && preferenceInWords(row.preference)],
  ];
  return el("dl.facts", {}, facts.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function preferenceInWords(found) {
  const percent = (value) => `${Math.round(100 * value)} %`;
  return `puts the successful episode first in ${percent(found.share)} [${percent(found.low)}, ${percent(found.high)}] ` +
    `of the pairs of ${found.successes} successful and ${found.failures} failed recorded episodes`;
}

/* -- curves ------------------------------------------------------------------------------------ */

function drawAlarmPlot(row, data, id) {
  const { curves } = row;
  const last = (values) => values.filter(known).at(-1);
  const withSuccess = data.kind === "success";
  const label = `Own return of ${row.label} went from ${short(curves.own[0])} to ${short(last(curves.own))}` +
    (withSuccess ? ` while success went from ${score(curves.success[0], "success")} to ${score(last(curves.success), "success")}.` : ".");
  const columns = [{ name: "own return", show: (index) => short(curves.own[index]) }];
  if (withSuccess) columns.push({ name: "success", show: (index) => score(curves.success[index], "success") });
  return figure(
    withSuccess ? "Own return against success" : "Own return",
    el("ul.legend", {}, withSuccess && el("li", {}, swatch(0), "success"), el("li", {}, swatch(1, [6, 3]), "own return"),
      curves.seeds.length > 1 && el("li.hint", {}, "thin: each training seed")),
    chart(`${id}-alarm`, label, 220, () => alarmPlot(curves, data.kind)),
    numbers(`${id}-alarm-numbers`, `Own return of ${row.label} by steps`, curves.timesteps, columns),
  );
}

function drawComponents(row, id) {
  const { curves } = row;
  const parts = largest(curves.components);
  if (!parts.length) return null;
  const label = `Components of ${row.label}: ${parts.map((part) => `${part.name} ${Math.round(100 * part.share)} %`).join(", ")} of the reward by size.`;
  const columns = Object.entries(curves.components).map(([name, values]) => ({ name, show: (index) => short(values[index]) }));
  return figure(
    "Components over training",
    el("ul.legend", {}, parts.map((part) => el("li", {}, swatch(part.place, null, true), el("code", {}, part.name), el("span.hint", {}, `${Math.round(100 * part.share)} %`))),
      el("li", {}, el("span.sum", { "aria-hidden": "true" }), "sum")),
    chart(`${id}-parts`, label, 220, () => stackedPlot(curves)),
    numbers(`${id}-parts-numbers`, `Mean of each component of ${row.label} per step`, curves.timesteps, columns),
  );
}

/* -- what was asked and answered -------------------------------------------------------------- */

function drawTexts(row, id) {
  const found = [];
  if (row.prompt) {
    found.push(fold(`${id}-prompt`, `Prompt (${count(row.prompt.length, "message")})`, () => el("div", {},
      row.prompt.map((message) => [el("h5", {}, message.role), text(message.content, `${message.role} message`)]))));
  }
  if (row.reply) found.push(fold(`${id}-reply`, "Reply", () => text(row.reply, "reply")));
  const missing = ["prompt", "reply"].filter((name) => row.left_out.includes(name));
  if (missing.length) found.push(el("p.hint", {}, leftOut(`The ${missing.join(" and the ")}`)));
  return found.length ? el("div.texts", {}, found) : null;
}
