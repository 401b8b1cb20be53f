/* The family tree: one column per iteration, a line from each parent to its children. */

const NODE = { width: 112, height: 34, down: 46, left: 2, top: 34 };

/* Labels of the winner and all that it descends from. */
function lineage(rows, best) {
  const byLabel = new Map(rows.map((row) => [row.label, row]));
  const found = new Set();
  const pending = best ? [best] : [];
  while (pending.length) {
    const label = pending.pop();
    if (found.has(label)) continue;
    found.add(label);
    pending.push(...(byLabel.get(label)?.parents || []));
  }
  return found;
}

const TALLEST = 24;

/* The candidates of one column: all, or of very many the best and those that the winner descends from. */
function column(members, family) {
  if (members.length <= TALLEST) return members;
  const merit = (row) => (family.has(row.label) ? 1e9 : row.fitness ? row.fitness.mean : -1e9);
  const kept = new Set([...members].sort((a, b) => merit(b) - merit(a)).slice(0, TALLEST));
  return members.filter((row) => kept.has(row));
}

function drawTree(data) {
  const all = data.candidates;
  const family = lineage(all, data.best);
  const numbers = [...new Set(all.map((row) => row.iteration))];
  const rows = numbers.flatMap((number) => column(all.filter((row) => row.iteration === number), family));
  NODE.width = rows.some((row) => row.label.length > 4) ? 132 : 112;
  const columns = numbers.sort((a, b) => a - b);
  const places = new Map();
  const across = columns.length > 4 || innerWidth < 700 ? 168 : 240;
  const heights = columns.map((iteration, place) => {
    const members = rows.filter((row) => row.iteration === iteration);
    members.forEach((row, index) => places.set(row.label, {
      x: NODE.left + place * across, y: NODE.top + index * NODE.down,
    }));
    return members.length;
  });
  const width = NODE.left * 2 + (columns.length - 1) * across + NODE.width;
  const height = NODE.top + Math.max(...heights) * NODE.down;
  const range = rangeOf(rows.map((row) => row.fitness), data.kind);
  const edges = rows.flatMap((row) => row.parents
    .filter((parent) => places.has(parent))
    .map((parent) => edgeOf(parent, row.label, places, family)));
  return svg(
    "svg.tree",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": familyInWords(data, family) },
    columns.map((iteration, place) => svg("text.column", { x: NODE.left + place * across, y: 14 }, `iteration ${iteration}`)),
    svg("g", { "aria-hidden": "true" }, edges.sort((a, b) => a.classList.contains("family") - b.classList.contains("family"))),
    rows.map((row) => nodeOf(row, places.get(row.label), data, range, family)),
  );
}

function edgeOf(parent, child, places, family) {
  const [from, to] = [places.get(parent), places.get(child)];
  const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
  const bend = Math.max(28, (x2 - x1) / 2);
  const kept = family.has(parent) && family.has(child) ? ".family" : "";
  return svg(`path.edge${kept}`, { d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, "data-from": parent, "data-to": child });
}

function nodeOf(row, at, data, range, family) {
  const best = row.label === data.best;
  const share = row.fitness ? Math.min(1, Math.max(0, (row.fitness.mean - range[0]) / (range[1] - range[0] || 1))) : row.progress || 0;
  const value = row.fitness ? score(row.fitness.mean, data.kind) : shortStatus(row);
  const names = ["node", stateOf(row), best && "best", family.has(row.label) && "family"].filter(Boolean).join(".");
  const words = `${row.label}${best ? ", the best" : ""}: ${row.fitness ? `${measure(data.kind)} ${value}` : spaced(row.status)}` +
    `${row.parents.length ? `, from ${row.parents.join(" and ")}` : ""}`;
  return svg(
    `a.${names}`,
    {
      href: `#${anchor(row.label)}`, id: `node-${anchor(row.label)}`, "aria-label": words,
      transform: `translate(${at.x} ${at.y})`,
      onclick: (event) => { event.preventDefault(); jump(row.label); },
      onmouseenter: () => emphasise(row.label, true), onmouseleave: () => emphasise(row.label, false),
      onfocus: () => emphasise(row.label, true), onblur: () => emphasise(row.label, false),
    },
    svg("title", {}, words),
    svg("rect.back", { width: NODE.width, height: NODE.height, rx: 7 }),
    share > 0 && svg("rect.fill", { width: Math.max(8, NODE.width * share), height: NODE.height, rx: 7 }),
    svg("rect.outline", { width: NODE.width, height: NODE.height, rx: 7 }),
    svg("text.name", { x: 10, y: 22 }, (best ? "★ " : "") + row.label),
    svg("text.value", { x: NODE.width - 10, y: 22, "text-anchor": "end" }, value),
  );
}

/* Make the lines of one candidate stand out. */
function emphasise(label, on) {
  for (const path of document.querySelectorAll(".tree .edge")) {
    const touches = path.dataset.from === label || path.dataset.to === label;
    path.classList.toggle("near", on && touches);
  }
}

const GOING = ["asked for", "waiting", "training"];
const stateOf = (row) => (row.fitness ? "ok" : GOING.includes(row.status) ? "going" : "fault");
const SHORT = { probe_failed: "probe", no_code: "no code", no_reply: "no reply", "asked for": "asked" };
const shortStatus = (row) => SHORT[row.status] || spaced(row.status);

function familyInWords(data, family) {
  const parents = [...family].filter((label) => label !== data.best);
  const descent = !data.best ? "" : parents.length
    ? ` The best, ${data.best}, descends from ${parents.join(", ")}.`
    : ` The best, ${data.best}, has no parent.`;
  return `Family tree of ${count(data.candidates.length, "candidate")}.${descent}`;
}

/* Open the part of the page on a candidate and go there. */
function jump(label) {
  const node = document.getElementById(anchor(label));
  if (!node) return;
  node.open = true;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  node.scrollIntoView({ behavior: still ? "instant" : "smooth", block: "start" });
  node.querySelector("summary").focus({ preventScroll: true });
  history.replaceState(null, "", `#${node.id}`);
}
