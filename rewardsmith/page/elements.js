/* Small things that every part of the page is made of. Text is only ever set as text. */

const SVG = "http://www.w3.org/2000/svg";

/* el("p.note", {id: "x"}, "text", child): an element; falsy children are left out. */
function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

function svg(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElementNS(SVG, tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  return fill(node, attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((item) => item !== null && item !== undefined && item !== false && item !== ""));
  return node;
}

/* -- numbers in words -------------------------------------------------------------------- */

const known = (value) => value !== null && value !== undefined;
const whole = (value) => (known(value) ? Math.round(value).toLocaleString("en-US") : "–");

function short(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

function score(value, kind) {
  return known(value) ? value.toFixed(kind === "success" ? 2 : 1) : "–";
}

function interval(found, kind) {
  if (!found) return "–";
  const [low, high] = [score(found.low, kind), score(found.high, kind)];
  return `${score(found.mean, kind)} [${low}, ${high}]`;
}

function duration(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(1)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

const count = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
const measure = (kind) => (kind === "success" ? "success" : "return");
const anchor = (label) => `candidate-${label.replace(/[^A-Za-z0-9]/g, "-")}`;

function spaced(text) {
  return String(text).replaceAll("_", " ");
}

/* -- parts ----------------------------------------------------------------------------------- */

/* An interval as a small bar: a track, the interval on it, a point for the mean. */
function bar(found, range, strong) {
  if (!found || !known(found.mean)) return null;
  const [from, to] = range;
  const place = (value) => 100 * Math.min(1, Math.max(0, (value - from) / (to - from || 1)));
  const [low, high] = [place(found.low), place(found.high)];
  return svg(
    `svg.bar${strong ? ".strong" : ""}`,
    { width: 120, height: 14, viewBox: "0 0 120 14", "aria-hidden": "true" },
    svg("line.track", { x1: 6, x2: 114, y1: 7, y2: 7 }),
    svg("line.span", { x1: 6 + low * 1.08, x2: 6 + high * 1.08, y1: 7, y2: 7 }),
    svg("circle.mean", { cx: 6 + place(found.mean) * 1.08, cy: 7, r: 4.5 }),
  );
}

/* The range that intervals of this kind are drawn in. */
function rangeOf(found, kind) {
  if (kind === "success") return [0, 1];
  const all = found.filter(Boolean).flatMap((item) => [item.low, item.high]).filter(known);
  if (!all.length) return [0, 1];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - room, high + room];
}

/* A table in a box of its own, which scrolls where the page is too narrow. */
function table(id, caption, head, body, name = "") {
  return el("div", {},
    el("p.caption", { id: `${id}-caption` }, caption),
    el("div.scroll", { id: `${id}-box`, tabindex: "0", role: "region", "aria-label": caption },
      el(`table${name}`, { id, "aria-labelledby": `${id}-caption` },
        el("thead", {}, el("tr", {}, head)),
        el("tbody", {}, body))));
}

const th = (text, attributes) => el("th", { scope: "col", ...attributes }, text);
const td = (content, attributes) => el("td", attributes, content);
const number = (content) => el("td.number", {}, content);

function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), children);
}

/* Texts of any length, folded; `open` remembers which are open. */
const open = new Set();
function fold(id, title, content, name = "") {
  return unfolding(`details.fold${name}`, id, el("summary", {}, title), content);
}

/* A <details> whose content is made when it is first opened. */
function unfolding(kind, id, summary, content) {
  const node = el(kind, { id, open: open.has(id) }, summary);
  const draw = () => {
    if (node.open && node.children.length === 1) node.append(content());
  };
  node.addEventListener("toggle", () => {
    if (node.open) open.add(id);
    else open.delete(id);
    draw();
  });
  draw();
  return node;
}

function text(content, label) {
  return el("pre.text", { tabindex: "0", role: "region", "aria-label": label }, content);
}

/* -- redrawing --------------------------------------------------------------------------------- */

const shown = new Map();

/* Put `draw()` into the place with this id, unless it was drawn from the same data before. */
function refresh(place, key, draw) {
  const signature = JSON.stringify(key);
  if (shown.get(place.id) === signature) return;
  shown.set(place.id, signature);
  discardCharts(place);
  const content = draw();
  place.replaceChildren(...[content].flat().filter(Boolean));
}

/* Keep what the reader has focused and scrolled to while `draw` changes the page. */
function keepingPlace(draw) {
  const focused = document.activeElement?.id;
  const top = window.scrollY;
  const scrolled = [...document.querySelectorAll(".scroll, pre")]
    .filter((node) => node.id && (node.scrollLeft || node.scrollTop))
    .map((node) => [node.id, node.scrollLeft, node.scrollTop]);
  draw();
  for (const [id, left, from] of scrolled) {
    const node = document.getElementById(id);
    if (node) node.scrollTo(left, from);
  }
  if (focused && document.activeElement?.id !== focused) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
  if (window.scrollY !== top) window.scrollTo({ top, behavior: "instant" });
}
