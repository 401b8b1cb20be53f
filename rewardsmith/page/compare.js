/* Several runs side by side. */

const data = JSON.parse(document.getElementById("data").textContent);
const tasks = `task${data.tasks.length === 1 ? "" : "s"} ${data.tasks.join(", ")}`;

/* The result of a run: its fresh trainings, or its best policy on the test episodes. */
const winnerOf = (run) => run.headline.find((row) => row.winner) || null;
const fitnessOf = (run) => winnerOf(run)?.fitness || run.test;
const baseline = (run, name) => run.headline.find((row) => row.names.includes(name))?.fitness;
const runId = (place) => `run-${place}`;

function drawWinners() {
  const ranges = (kind) => rangeOf(data.runs.filter((run) => run.kind === kind).map(fitnessOf), kind);
  const rows = data.runs.map((run, place) => {
    const fitness = fitnessOf(run);
    return el("tr", {},
      el("th", { scope: "row" }, swatch(place, DASHES[place % HUES]), " ", el("a", { href: `#${runId(place)}` }, run.name)),
      data.tasks.length > 1 && td(run.task.name), td(run.best || "–"),
      td(fitness ? `${interval(fitness, run.kind)}${run.kind === "success" ? "" : " return"}` : run.state.text, { class: fitness ? "nowrap" : "" }),
      td(bar(fitness, ranges(run.kind), true)),
      td(interval(baseline(run, "sparse"), run.kind), { class: "nowrap" }), td(interval(baseline(run, "human"), run.kind), { class: "nowrap" }),
      number(fitness ? `${fitness.seeds}` : "–"));
  });
  return section("winners", "What won",
    data.comparable ? null : el("p.notice.alarm", {}, data.tasks.length > 1
      ? `These runs are of different tasks (${data.tasks.join(", ")}): success of one cannot be compared with success of another.`
      : "Success is not measured alike in these runs: it cannot be compared between them."),
    table("winners-table", "Winners on test episodes, trained from scratch where there are fresh seeds", [
      th("run"), data.tasks.length > 1 && th("task"), th("winner"), th(`${measure(data.runs[0].kind)} [95 %]`),
      el("td", {}, el("span.unseen", {}, "as a bar")), th("sparse reward"), th("human reward"), th("seeds"),
    ], rows));
}

function drawProgress() {
  const kinds = [...new Set(data.runs.map((run) => run.kind))];
  const parts = kinds.flatMap((kind) => {
    const runs = data.runs.map((run, place) => ({ run, place })).filter(({ run }) => run.kind === kind && run.best_so_far.mean.length);
    if (!runs.length) return [];
    const items = (axis) => runs.map(({ run, place }) => ({
      label: run.name, place: place % HUES, dash: DASHES[place % HUES],
      curves: { timesteps: run.best_so_far[axis], success: run.best_so_far.mean, low: run.best_so_far.low, high: run.best_so_far.high },
    }));
    const words = `Best ${measure(kind)} so far. At the end: ${runs.map(({ run }) => `${run.name} ${score(run.best_so_far.mean.at(-1), kind)}`).join(", ")}.`;
    const legend = () => el("ul.legend", {}, runs.map(({ run, place }) => el("li", {}, swatch(place, DASHES[place % HUES]), run.name)));
    const draw = (axis, title) => {
      const [steps, ...columns] = aligned(items(axis), ["success"]);
      return figure(title, legend(),
        chart(`${kind}-${axis}`, words, 280, () => successPlot(items(axis), kind, axis === "steps" ? "environment steps of the search" : "iteration")),
        fold(`${kind}-${axis}-numbers`, "The numbers as a table", () => table(`${kind}-${axis}-table`, title, [th(axis), runs.map(({ run }) => th(run.name))],
          steps.map((step, index) => el("tr", {}, el("th", { scope: "row" }, whole(step)), columns.map((values) => number(score(values[index], kind)))))), ".quiet"));
    };
    return [el("div.columns", {}, draw("iteration", `Best ${measure(kind)} by iteration`), draw("steps", `Best ${measure(kind)} by environment steps`))];
  });
  return section("progress", "How soon",
    el("p.hint", {}, "Of the best candidate so far, on the episodes that candidates are ranked by: the more candidates, the more luck is in it."),
    parts.length ? parts : el("p.hint", {}, "No candidate of these runs has been trained yet."));
}

function drawCosts() {
  const rows = data.runs.map((run, place) => {
    const usage = run.cost.usage || {};
    return el("tr", {},
      el("th", { scope: "row" }, el("a", { href: `#${runId(place)}` }, run.name)),
      td([run.cost.provider, run.cost.model && `(${run.cost.model})`].filter(Boolean).join(" ") || "–"),
      number(`${whole(run.trained)} of ${whole(run.candidates)}`), number(`${run.iteration.number} of ${run.iteration.of}`),
      number(whole(usage.requests)), number(known(usage.prompt_tokens) ? whole(usage.prompt_tokens + usage.completion_tokens) : "–"),
      number(known(usage.usd) ? `$${usage.usd.toFixed(4)}` : known(usage.requests) ? "unknown" : "–"),
      number(run.cost.timesteps ? whole(run.cost.timesteps.search) : "–"), number(duration(run.cost.seconds)));
  });
  return section("costs", "At what cost", table("costs-table", "What each run took", [
    "run", "written by", "trained", "iterations", "requests", "tokens", "dollars", "steps", "time",
  ].map((name) => th(name)), rows));
}

function drawDifferences() {
  if (!data.differences.length) return section("settings", "Settings that differ", el("p", {}, "None: these runs have the same configuration."));
  return section("settings", "Settings that differ", table("settings-table", "Settings that are not the same in all runs", [
    th("setting"), data.runs.map((run) => th(run.name)),
  ], data.differences.map((row) => el("tr", {}, el("th", { scope: "row" }, el("code", {}, row.key)),
    row.values.map((value) => td(value === null ? "–" : el("code", {}, value)))))));
}

function drawRuns() {
  return section("runs", "One by one", data.runs.map((run, place) => el("article", { id: runId(place) },
    el("h3", {}, run.name), el("p.hint", {}, `${run.task.description || run.task.id || ""} ${run.state.text}`),
    el("p", {}, run.sentence), run.report && el("p", {}, el("a", { href: run.report }, "Its report")))));
}

const parts = [["winners", "What won"], ["progress", "How soon"], ["costs", "At what cost"], ["settings", "Settings"], ["runs", "One by one"]];
document.getElementById("root").replaceChildren(
  el("header", {}, el("p.brand", {}, "rewardsmith"), el("h1", {}, `${count(data.runs.length, "run")} side by side`), el("p.lead", {}, `${data.title}, of the ${tasks}`)),
  el("nav", { "aria-label": "On this page" }, el("ul", {}, parts.map(([id, title]) => el("li", {}, el("a", { href: `#${id}` }, title))))),
  el("main", { id: "main", tabindex: "-1" }, drawWinners(), drawProgress(), drawCosts(), drawDifferences(), drawRuns()),
  el("footer", {}, el("p.hint", {}, "Made by rewardsmith. This page is one file: it needs no network and sends nothing.")),
);
document.documentElement.dataset.ready = "true";
document.documentElement.dataset.drawn = "1";
