/* The page of a run. `show(data)` draws everything; it can be called again with newer data, and
   then keeps what the reader has opened, chosen, focused and scrolled to. */

let drawn = 0;
let latest = null;

const place = (id, tag = "div") => el(tag, { id: `at-${id}` });

/* The frame, made once. */
function frame() {
  const root = document.getElementById("root");
  root.replaceChildren(
    el("header", {}, place("head"), el("p.state", { id: "state", role: "status", "aria-live": "polite" }), el("p.hint", { id: "age" })),
    el("nav", { id: "at-links", "aria-label": "On this page" }),
    el("main", { id: "main", tabindex: "-1" },
      ["result", "curves", "family", "table"].map((id) => place(id)),
      el("section", { id: "each", "aria-labelledby": "each-title" }, el("h2", { id: "each-title" }, "One by one"), place("each")),
      place("made"), place("log")),
    el("footer", {}, el("p.hint", {}, mode === "watch" ? "Made by rewardsmith, on this machine and for this machine alone." : "Made by rewardsmith. This page is one file: it needs no network and sends nothing.")),
  );
}

const at = (id) => document.getElementById(`at-${id}`);
const mode = document.documentElement.dataset.mode;

function show(data) {
  if (!drawn) frame();
  latest = data;
  document.title = `${data.title} · rewardsmith`;
  keepingPlace(() => {
    const { candidates, best, kind } = data;
    const brief = candidates.map(({ prompt, reply, code, diff, ...row }) => row);
    refresh(at("head"), [data.title, data.task, data.iteration, data.total, data.cost], () => drawHead(data));
    refresh(at("links"), data.log.length > 0, () => drawLinks(data));
    refresh(at("result"), [data.sentence, data.headline, data.video ? data.video.text : 0, kind, state.name], () => drawResult(data));
    refresh(at("curves"), [ranked(data).map((row) => [row.label, row.curves]), best, kind], () => drawCurves(data));
    refresh(at("family"), [brief.map(({ curves, ...row }) => row), best, kind], () => drawFamily(data));
    refresh(at("table"), [brief.map(({ curves, ...row }) => row), best, kind, data.screens, data.iterations], () => drawTable(data));
    drawEach(data);
    refresh(at("made"), [data.cost, data.versions, data.sandbox, data.notes, data.config, data.left_out], () => drawMade(data));
    refresh(at("log"), mode === "watch" && data.log, () => drawLog(data));
    drawState();
  });
  drawn += 1;
  document.documentElement.dataset.ready = "true";
  document.documentElement.dataset.drawn = String(drawn);
}

/* The candidates one by one; only those that have changed are drawn anew. */
function drawEach(data) {
  const home = at("each");
  for (const { number: iteration } of data.iterations) {
    const id = `at-iteration-${iteration}`;
    if (!document.getElementById(id)) {
      home.append(el("div.iteration", { id }, el("h3", {}, `Iteration ${iteration}`), el("div", { id: `${id}-list` }), el("div", { id: `${id}-told` })));
    }
    const told = data.texts[iteration];
    refresh(document.getElementById(`${id}-told`), told || "", () => told && fold(`told-${iteration}`, `What was told of iteration ${iteration}`, () => text(told, "reflection"), ".quiet"));
  }
  const range = rangeOf(data.candidates.map((row) => row.fitness), data.kind);
  forgetOthers(data);
  let [list, before] = [null, null];
  for (const row of data.candidates) {
    const id = `at-${anchor(row.label)}`;
    const own = document.getElementById(`at-iteration-${row.iteration}-list`);
    if (own !== list) [list, before] = [own, own.firstElementChild];
    const node = document.getElementById(id) || list.insertBefore(el("div", { id }), before);
    before = node.nextElementSibling;
    refresh(document.getElementById(id), [row, row.label === data.best, data.state.name, data.kind === "return" && range], () => drawCandidate(row, data));
  }
}

/* Of a very large run, better candidates take the place of others. */
function forgetOthers(data) {
  const kept = new Set(data.candidates.map((row) => `at-${anchor(row.label)}`));
  for (const node of document.querySelectorAll("#at-each .iteration > div > div")) {
    if (!node.id.startsWith("at-candidate-") || kept.has(node.id)) continue;
    discardCharts(node);
    shown.delete(node.id);
    node.remove();
  }
}

function drawLog(data) {
  if (mode !== "watch" || !data.log.length) return null;
  const lines = el("pre.text.log", { id: "log-lines", tabindex: "0", role: "region", "aria-label": "the last lines of the log" }, data.log.join("\n"));
  requestAnimationFrame(() => { lines.scrollTop = lines.scrollHeight; });
  return section("log", "Log", lines);
}

/* -- how the run stands ----------------------------------------------------------------------- */

let connected = true;
let trouble = "";

function drawState() {
  if (!document.getElementById("state")) frame();
  const node = document.getElementById("state");
  const state = latest ? latest.state : { name: "", text: "Waiting for the run." };
  const lost = connected ? trouble : "The connection is lost; trying again.";
  const words = lost || state.text;
  if (node.textContent !== words) node.textContent = words;
  node.className = `state ${lost ? "lost" : state.name}`;
  drawAge();
}

/* How long ago the last event was; not read out, since it changes all the time. */
function drawAge() {
  const node = document.getElementById("age");
  if (!latest || !node) return;
  const { state } = latest;
  const counting = mode === "watch" && state.name === "running" && state.last;
  node.textContent = counting ? `last heard of ${duration(Math.max(0, Date.now() / 1000 - state.last))} ago` : "";
}

function follow() {
  const restate = (value, problem = "") => {
    connected = value;
    trouble = problem;
    drawState();
    document.documentElement.dataset.connected = String(value);
  };
  const connect = () => {
    const source = new EventSource("/events");
    source.addEventListener("data", (event) => { restate(true); show(JSON.parse(event.data)); });
    source.addEventListener("trouble", (event) => restate(true, JSON.parse(event.data)));
    source.addEventListener("error", () => {
      restate(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000); // it was refused
    });
  };
  connect();
  setInterval(drawAge, 1000);
}

/* A link to a candidate opens it, also where the page is opened with it. */
function followHash() {
  const node = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (node && node.tagName === "DETAILS") node.open = true;
  if (node) node.scrollIntoView();
}

const given = document.getElementById("data").textContent.trim();
if (given && given !== "null") show(JSON.parse(given));
if (mode === "watch") follow();
addEventListener("hashchange", followHash);
addEventListener("beforeprint", () => { for (const entry of charts.values()) if (!entry.drawn) drawChart(entry); });
followHash();
