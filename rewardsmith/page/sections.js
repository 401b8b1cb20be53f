/* The sections of the page, each drawn from the data alone. */

/* -- the head ---------------------------------------------------------------------------------- */

function drawHead(data) {
  const { task, iteration } = data;
  const facts = [
    task.id, iteration.number > 0 ? `iteration ${iteration.number} of ${iteration.of}` : count(iteration.of, "iteration"), count(data.total, "candidate"),
    data.cost.provider && `written by ${data.cost.provider}${data.cost.model ? ` (${data.cost.model})` : ""}`,
    data.cost.seconds && duration(data.cost.seconds),
  ];
  return [
    el("p.brand", {}, "rewardsmith"),
    el("h1", {}, data.title),
    el("p.lead", {}, task.description),
    task.success && el("p.hint", {}, el("strong", {}, "Success: "), task.success),
    el("ul.facts-line", {}, facts.filter(Boolean).map((fact) => el("li", {}, fact))),
  ];
}

const LINKS = [
  ["result", "Result"], ["curves", "Curves"], ["family", "Family"], ["table", "All candidates"],
  ["each", "One by one"], ["made", "How it was made"],
];

function drawLinks(data) {
  const links = data.log.length && document.documentElement.dataset.mode === "watch" ? [...LINKS, ["log", "Log"]] : LINKS;
  return el("ul", {}, links.map(([id, title]) => el("li", {}, el("a", { href: `#${id}` }, title))));
}

/* -- the result -------------------------------------------------------------------------------- */

function drawResult(data) {
  const table = data.headline.length ? drawHeadline(data) : null;
  const learning = data.headline.filter((row) => row.curves);
  const video = drawVideo(data);
  const finals = data.kind === "success" && learning.length ? drawFinals(learning) : null;
  return section("result", data.state.name === "running" ? "So far" : "What came out",
    el("p.sentence", {}, data.sentence),
    table,
    (video || finals) && el(`div.columns${video && finals ? "" : ".one"}`, {}, finals, video),
    data.video && !data.video.uri && data.state.finished && el("p.hint", {}, data.video.text));
}

function drawHeadline(data) {
  const { kind } = data;
  const range = rangeOf(data.headline.map((row) => row.fitness), kind);
  const rows = data.headline.map((row) => el(`tr${row.winner ? ".winner" : ""}`, {},
    el("th", { scope: "row" }, entrant(row)),
    td(row.fitness ? interval(row.fitness, kind) : row.fault ? `${spaced(row.status)}: ${row.fault.message}` : spaced(row.status), { class: "nowrap" }),
    td(bar(row.fitness, range, row.winner)),
    number(row.fitness ? score(row.fitness.iqm, kind) : "–"),
    number(known(row.human_normalised) ? row.human_normalised.toFixed(2) : "–"),
    el("td.nowrap", {}, better(row.winner_is_better)),
    number(whole(row.timesteps))));
  return table("headline-table", `Trained from scratch on fresh seeds, measured on test episodes`, [
    th("reward"), th(`${measure(kind)} [95 %]`), el("td", {}, el("span.unseen", {}, "as a bar")),
    th("middle half", { title: "interquartile mean over the training seeds" }), th("normalised"), th("winner is better"), th("steps"),
  ], rows);
}

function entrant(row) {
  const names = row.names.length ? row.names.join(", ") : row.candidate;
  if (!row.candidate.includes("/")) return `${names} reward`;
  return [`${row.winner ? "★ " : ""}${names} `, el("a", { href: `#${anchor(row.candidate)}`, onclick: (event) => { event.preventDefault(); jump(row.candidate); } }, row.candidate)];
}

function better(found) {
  return found ? `${found.probability.toFixed(2)} [${found.low.toFixed(2)}, ${found.high.toFixed(2)}]` : "–";
}

function drawFinals(rows) {
  const items = rows.map((row, place) => ({ label: row.names.join(", ") || row.candidate, curves: row.curves, place, strong: row.winner, dash: DASHES[place % HUES] }));
  return figure("Learning from scratch",
    el("ul.legend", {}, items.map((item) => el("li", {}, swatch(item.place, item.dash), item.label))),
    chart("finals-chart", curvesInWords(items), 240, () => successPlot(items)),
    curveNumbers("finals-numbers", "Success of the fresh trainings by steps", items));
}

function curveNumbers(id, caption, items) {
  const [steps, ...columns] = aligned(items, ["success"]);
  return numbers(id, caption, steps, items.map((item, place) => ({ name: item.label, show: (index) => score(columns[place][index], "success") })));
}

function curvesInWords(items) {
  const last = (values) => score(values.filter(known).at(-1), "success");
  return `Success by steps. At the end: ${items.map((item) => `${item.label} ${last(item.curves.success)}`).join(", ")}.`;
}

function drawVideo(data) {
  const { video } = data;
  if (!video?.uri) return null;
  const label = "The best policy at work";
  const shown = video.kind === "image/gif" ? el("img", { src: video.uri, alt: label })
    : el("video", { src: video.uri, controls: true, loop: true, muted: true, playsinline: true, preload: "auto", "aria-label": label });
  return figure(label, shown);
}

/* -- curves ------------------------------------------------------------------------------------ */

const MOST_LINES = HUES;
const MOST_SERIES = 48;  // that can be chosen; the curves of others are with the candidate

/* Trained candidates, best first; those in training come before. */
function ranked(data) {
  const merit = (row) => (row.label === data.best ? 1e9 : row.fitness ? row.fitness.mean : row.status === "training" ? 1e6 : -1e9);
  return data.candidates.filter((row) => row.curves).sort((a, b) => merit(b) - merit(a));
}

function drawCurves(data) {
  if (data.kind !== "success") {
    return section("curves", "Curves", el("p", {}, "This environment reports no success, so there is no common measure during training. " +
      "How each candidate's own reward rose is shown with the candidate; what they reached is in the table of all candidates."));
  }
  const rows = ranked(data).slice(0, MOST_SERIES);
  if (!rows.length) return section("curves", "Success during training", el("p.hint", {}, "No policy has been looked at yet."));
  const places = new Map(rows.map((row, place) => [row.label, place]));
  const isOn = (row) => chosen[`line-${row.label}`] ?? places.get(row.label) < MOST_LINES;
  const items = () => rows.filter(isOn).reverse().map((row) => {
    const place = places.get(row.label);
    return { label: row.label, curves: row.curves, place: place < HUES ? place : -1, strong: row.label === data.best, dash: DASHES[place % HUES] };
  });
  const host = chart("curves-chart", curvesInWords(items()), 340, () => successPlot(items()));
  const update = () => {
    host.setAttribute("aria-label", curvesInWords(items()));
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(isOn(rows[index]))));
    redraw(host);
  };
  const toggle = (row) => { chosen[`line-${row.label}`] = !isOn(row); update(); };
  const buttons = rows.map((row, place) => el("button.series", {
    id: `line-${row.label}`, type: "button", "aria-pressed": String(isOn(row)), onclick: () => toggle(row),
  }, swatch(place < HUES ? place : -1, DASHES[place % HUES]), (row.label === data.best ? "★ " : "") + row.label));
  const all = (on) => { rows.forEach((row, place) => { chosen[`line-${row.label}`] = on || place < MOST_LINES; }); update(); };
  const more = rows.length > MOST_LINES && el("div.choices", {},
    el("button", { id: "lines-all", type: "button", onclick: () => all(true) }, `All ${rows.length}`),
    el("button", { id: "lines-best", type: "button", onclick: () => all(false) }, `The best ${MOST_LINES}`));
  return section("curves", "Success during training",
    el("p.hint", {}, "Mean over the training seeds, with its 95 % interval. Each look is at few episodes: what counts is measured at the end."),
    host,
    el("div.series-list", { role: "group", "aria-label": "Candidates in the chart" }, buttons), more,
    curveNumbers("curves-numbers", "Success of each candidate by steps", rows));
}

/* -- family and table ------------------------------------------------------------------------- */

function drawFamily(data) {
  if (!data.candidates.length) return section("family", "Family", el("p.hint", {}, "Nothing has been asked for yet."));
  return section("family", "Family",
    el("p.hint", {}, `Filled by ${measure(data.kind)}; dashed where it was not trained to the end; lines lead from parents to children, the thick ones to the best. A click opens a candidate.` +
      (data.iterations.some((row) => row.candidates > TALLEST) ? ` Of each iteration ${TALLEST} at most are drawn, the best ones.` : "")),
    el("div.scroll", { id: "tree-box", tabindex: "0", role: "region", "aria-label": "Family tree" }, drawTree(data)));
}

const order = { key: "place", down: false };

const COLUMNS = [
  { key: "place", title: "candidate", value: (row) => row.place },
  { key: "status", title: "outcome", value: (row) => spaced(row.status) },
  { key: "fitness", title: "", value: (row) => row.fitness?.mean ?? null, bar: true },
  { key: "parents", title: "parents", value: (row) => row.parents.join(", ") || null },
  { key: "alarms", title: "alarms", value: (row) => row.alarms.length },
  { key: "attempts", title: "replies", value: (row) => row.attempts },
  { key: "timesteps", title: "steps", value: (row) => row.timesteps || null },
  { key: "seconds", title: "time", value: (row) => row.seconds || null },
];

function drawTable(data) {
  const box = el("div", {});
  const draw = () => box.replaceChildren(tableOf(data, () => {
    const focused = document.activeElement?.id;
    draw();
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }));
  draw();
  return section("table", isCrowd(data) ? "Candidates" : "All candidates", crowdInWords(data), isCrowd(data) && drawIterations(data), box, screensInWords(data));
}

/* Of a very large run the page has the most interesting candidates, and a table of the iterations. */
const isCrowd = (data) => data.candidates.length < data.total;

function crowdInWords(data) {
  if (!isCrowd(data)) return null;
  return el("p.hint", {}, `${whole(data.candidates.length)} of ${count(data.total, "candidate")} are on this page: the best, what the winner descends from, and those on their way. ` +
    "The folder of the run has all of them: evaluations.json of each iteration, and their sources in rewards.");
}

function drawIterations(data) {
  const here = new Set(data.candidates.map((row) => row.label));
  const range = rangeOf(data.iterations.map((row) => row.fitness), data.kind);
  const rows = data.iterations.map((row) => el("tr", {},
    el("th", { scope: "row" }, row.number), number(whole(row.candidates)), number(whole(row.trained)),
    td(Object.entries(row.failed).map(([name, times]) => `${whole(times)} ${spaced(name)}`).join(", ") || "–"),
    td(!row.best ? "–" : here.has(row.best) ? candidateLink(row.best) : row.best, { class: "nowrap" }),
    td(interval(row.fitness, data.kind), { class: "nowrap" }), td(bar(row.fitness, range, false))));
  return table("iterations-table", "The iterations, all candidates counted", [
    th("iteration"), th("candidates"), th("trained"), th("not trained"), th("best"), th(`${measure(data.kind)} [95 %]`), el("td", {}, el("span.unseen", {}, "as a bar")),
  ], rows);
}

function candidateLink(label) {
  return el("a", { href: `#${anchor(label)}`, onclick: (event) => { event.preventDefault(); jump(label); } }, label);
}

function tableOf(data, again) {
  const column = COLUMNS.find((item) => item.key === order.key);
  const all = data.candidates.map((row, place) => ({ ...row, place }));
  const valued = all.filter((row) => known(column.value(row)));
  valued.sort((a, b) => compareValues(column.value(a), column.value(b)) * (order.down ? -1 : 1) || a.place - b.place);
  const rows = [...valued, ...all.filter((row) => !known(column.value(row)))];  // without a value last, either way
  const range = rangeOf(rows.map((row) => row.fitness), data.kind);
  const head = COLUMNS.flatMap((item) => {
    const sorted = item.key === order.key ? (order.down ? "descending" : "ascending") : "none";
    const title = item.title || `${measure(data.kind)} [95 %]`;
    const button = el("button", {
      type: "button", id: `sort-${item.key}`,
      onclick: () => { order.down = item.key === order.key ? !order.down : item.key === "fitness"; order.key = item.key; again(); },
    }, title, el("span.arrow", { "aria-hidden": "true" }, { none: "", ascending: " ↑", descending: " ↓" }[sorted]));
    const cell = el("th", { scope: "col", "aria-sort": sorted }, button);
    return item.bar ? [cell, el("td", {}, el("span.unseen", {}, "as a bar"))] : [cell];
  });
  const body = rows.map((row) => el(`tr${row.label === data.best ? ".winner" : ""}`, {},
    el("th", { scope: "row" }, row.label === data.best ? "★ " : "", el("a", { href: `#${anchor(row.label)}`, id: `row-${anchor(row.label)}`, onclick: (event) => { event.preventDefault(); jump(row.label); } }, row.label)),
    td(row.status === "training" ? el("progress", { value: row.progress, max: 1, "aria-label": `progress of ${row.label}` }) : row.status === "ok" ? "ok" : `${spaced(row.status)}${row.fault && ![row.fault.status, "behavioural_duplicate", "static_duplicate"].includes(row.fault.reason) ? ` (${spaced(row.fault.reason)})` : ""}`, { class: row.fault && "words" }),
    td(interval(row.fitness, data.kind), { class: "nowrap" }), td(bar(row.fitness, range, row.label === data.best)),
    td(row.parents.join(", ") || "–", { class: "nowrap" }),
    td(row.alarms.map((alarm) => alarm.name).join(", ") || "–", { class: row.alarms.length > 1 && "words" }),
    number(row.attempts), number(row.timesteps ? whole(row.timesteps) : "–"), number(row.seconds ? duration(row.seconds) : "–")));
  const which = isCrowd(data) ? `${whole(rows.length)} of ${whole(data.total)} candidates` : "All candidates";
  return table("candidates-table", `${which}, on the episodes that they were ranked by`, head, body);
}

function compareValues(a, b) {
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

function screensInWords(data) {
  const found = data.screens;
  if (!found) return null;
  const stopped = [
    [found.static_duplicate, "had the code of an earlier one"], [found.behavioural_duplicate, "said the same as an earlier one"],
    [found.prefers_failure, "put failed episodes above successful ones"],
  ].filter(([number]) => number);
  const noted = found.noted ? ` ${count(found.noted, "more candidate")} preferred failure and ${found.noted === 1 ? "was" : "were"} trained all the same.` : "";
  if (!stopped.length) return noted ? el("p.hint", {}, noted.trim()) : null;
  return el("p.hint", {}, `Screened before training: ${stopped.map(([number, what]) => `${number} ${what}`).join(", ")}; ` +
    `${Math.round(100 * found.saved)} % of the trainings were saved.${noted}`);
}

/* -- how it was made -------------------------------------------------------------------------- */

function drawMade(data) {
  return section("made", "How it was made",
    el("div.columns", {},
      el("div", {}, el("h3", {}, "Cost"), drawCost(data)),
      el("div", {}, el("h3", {}, "Versions"), list(Object.entries(data.versions)), el("h3", {}, "Protection"),
        el("p", {}, data.sandbox.layers.length ? `Rewards were called in a process of their own with: ${data.sandbox.layers.join(", ")}.` : "Nothing is recorded.", data.sandbox.missing.length ? ` Missing: ${data.sandbox.missing.join(", ")}.` : "", data.sandbox.weaker ? " Weaker protection was allowed." : ""))),
    el("h3", {}, "How the numbers were made"), el("ul.notes", {}, data.notes.map((note) => el("li", {}, note))),
    data.left_out ? el("p.hint", {}, `${count(data.left_out, "part")} of the least interesting candidates were left out to keep this page small; the folder of the run has everything.`) : null,
    fold("config", "Configuration", () => text(data.config, "configuration")));
}

function list(pairs) {
  return el("dl.facts", {}, pairs.filter(([, value]) => known(value)).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function drawCost({ cost }) {
  const usage = cost.usage || {};
  const dollars = known(usage.usd) ? `$${usage.usd.toFixed(4)}` : "unknown";
  return list([
    ["requests", known(usage.requests) ? whole(usage.requests) : null],
    ["tokens", known(usage.prompt_tokens) ? `${whole(usage.prompt_tokens)} in, ${whole(usage.completion_tokens)} out` : null],
    ["dollars", known(usage.requests) ? dollars + (known(cost.max_usd) ? ` of at most $${cost.max_usd}` : "") : null],
    ["time", cost.seconds ? duration(cost.seconds) : null],
    ["steps of the search", cost.timesteps ? whole(cost.timesteps.search) : null],
    ["steps of the result", cost.timesteps?.headline ? whole(cost.timesteps.headline) : null],
  ]);
}
