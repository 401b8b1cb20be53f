/* Charts: uPlot with the page's own colours, redrawn when those or the width change. */

const charts = new Map();
const HUES = 6;
const DASHES = [[], [6, 3], [2, 3], [10, 4], [8, 3, 2, 3], [4, 4]];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/* The colour of the series with this number; -1 is for what is not emphasised. */
const hue = (place) => colour(place < 0 ? "quiet" : `series-${place % HUES}`);

function tinted(value, share) {
  const size = parseInt(value.slice(1), 16);
  return `rgba(${size >> 16}, ${(size >> 8) & 255}, ${size & 255}, ${share})`;
}

/* A chart that draws itself when it is first in view.
   `plot()` gives {steps, series, axes, bands}; `label` says in a sentence what it shows. */
function chart(id, label, height, plot) {
  const host = el("div.chart", { id, role: "img", "aria-label": label, style: { "min-height": `${height}px` } });
  const entry = { host, height, plot, drawn: null, width: 0 };
  charts.set(host, entry);
  seen.observe(host);
  return host;
}

function discardCharts(place) {
  for (const [host, entry] of charts) {
    if (!place.contains(host)) continue;
    seen.unobserve(host);
    sized.unobserve(host);
    entry.drawn?.destroy();
    charts.delete(host);
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const entry = charts.get(target);
    if (!isIntersecting || !entry || entry.drawn) continue;
    drawChart(entry);
    sized.observe(target);
  }
}, { rootMargin: "600px" });

const sized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const entry = charts.get(target);
    const width = target.clientWidth;
    if (!entry?.drawn || !width || width === entry.width) continue;
    entry.width = width;
    entry.drawn.setSize({ width, height: entry.height });
  }
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const entry of charts.values()) if (entry.drawn) drawChart(entry);
});

function drawChart(entry) {
  entry.drawn?.destroy();
  const { data, options } = entry.plot();
  entry.width = entry.host.clientWidth;
  const size = { width: entry.width, height: entry.height };
  entry.drawn = new uPlot({ ...size, ...options }, data, entry.host);
}

/* Draw all charts in a place again, for instance after a choice. */
function redraw(host) {
  const entry = charts.get(host);
  if (entry?.drawn) drawChart(entry);
}

/* -- options -------------------------------------------------------------------------------- */

function axis(scale, label, more) {
  return {
    scale, label, labelSize: 18, labelFont: "12px system-ui, sans-serif", font: "12px system-ui, sans-serif",
    stroke: colour("muted"), labelGap: 2, size: 44,
    grid: { stroke: colour("hairline"), width: 1 }, ticks: { stroke: colour("hairline"), width: 1, size: 4 },
    values: (_, splits) => splits.map((value) => (known(value) ? compact(value) : "")), ...more,
  };
}

function compact(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/* Steps, or iterations; there is no half of one. */
const stepsAxis = (label = "environment steps") => axis("x", label, {
  size: 28, space: 60, values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? compact(value) : "")),
});

function options(axes, scales, series, bands) {
  return {
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    padding: [12, 24, 0, 0],
    scales: { x: { time: false, range: (_, low, high) => (low === high ? [low * 0.5, high * 1.5 || 1] : [low, high]) }, ...scales },
    axes, bands, series: [{}, ...series],
  };
}

function line(label, stroke, more) {
  return { label, stroke, width: 2, spanGaps: true, points: { show: true, size: 5, fill: stroke, width: 0 }, ...more };
}

const edge = (more) => ({ stroke: "transparent", width: 0, spanGaps: true, points: { show: false }, ...more });

/* Curves that may have been looked at after different steps, on one axis. */
function aligned(items, columns) {
  const steps = [...new Set(items.flatMap((item) => item.curves.timesteps))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, index) => [step, index]));
  const spread = (curves, values) => {
    const found = new Array(steps.length).fill(null);
    curves.timesteps.forEach((step, index) => { found[place.get(step)] = values[index]; });
    return found;
  };
  return [steps, ...items.flatMap((item) => columns.map((name) => spread(item.curves, item.curves[name])))];
}

/* Means with their intervals, one line per item: {label, curves, place, strong, dash}. */
function successPlot(items, kind = "success", across = "environment steps") {
  const data = aligned(items, ["success", "high", "low"]);
  const series = items.flatMap((item) => {
    const stroke = hue(item.place);
    const points = { show: data[0].length < 25, size: item.strong ? 6 : 4, fill: stroke, width: 0 };
    return [
      line(item.label, stroke, { scale: "success", width: item.strong ? 3 : 1.75, dash: item.dash, points }),
      edge({ scale: "success" }), edge({ scale: "success" }),
    ];
  });
  const bands = items.map((item, index) => ({
    series: [3 * index + 2, 3 * index + 3], fill: tinted(hue(item.place), item.strong ? 0.18 : 0.07),
  }));
  const share = kind === "success";
  const scales = { success: share ? { range: [-0.02, 1.02] } : {} };
  const splits = share ? { splits: () => [0, 0.25, 0.5, 0.75, 1] } : { size: 56 };
  return { data, options: options([stepsAxis(across), axis("success", measure(kind), splits)], scales, series, bands) };
}

/* Own return against success: the plot in which a reward that is hacked gives itself away. */
function alarmPlot(curves, kind) {
  const { timesteps, success, own, seeds } = curves;
  const [first, second] = [colour("series-0"), colour("series-1")];
  const faint = seeds.length > 1 ? seeds : [];
  const thin = (stroke, scale) => line("", tinted(stroke, 0.35), { scale, width: 1, points: { show: false } });
  const withSuccess = kind === "success";
  const data = [timesteps, own, ...faint.map((seed) => seed.own)];
  const series = [line("own return", second, { scale: "own", dash: [6, 3] }), ...faint.map(() => thin(second, "own"))];
  const axes = [stepsAxis()];
  if (withSuccess) {
    data.push(success, ...faint.map((seed) => seed.success));
    series.push(line("success", first, { scale: "success", width: 2.5 }), ...faint.map(() => thin(first, "success")));
    axes.push(axis("success", "success", { stroke: first, splits: () => [0, 0.5, 1] }));
  }
  axes.push(axis("own", "own return", { side: withSuccess ? 1 : 3, stroke: second, size: 56, grid: { show: !withSuccess, stroke: colour("hairline"), width: 1 } }));
  return { data, options: options(axes, { success: { range: [-0.02, 1.02] }, own: {} }, series) };
}

/* The components that are drawn: the largest by size, and the sum of the rest. */
function largest(components) {
  const size = (values) => values.reduce((sum, value) => sum + Math.abs(value || 0), 0);
  const sorted = Object.entries(components).sort((a, b) => size(b[1]) - size(a[1]));
  const kept = sorted.slice(0, sorted.length > HUES ? HUES - 1 : HUES);
  const rest = sorted.slice(kept.length);
  const total = sorted.reduce((sum, [, values]) => sum + size(values), 0) || 1;
  const found = kept.map(([name, values], place) => ({ name, values, place, share: size(values) / total }));
  if (rest.length) {
    const values = rest[0][1].map((_, index) => rest.reduce((sum, [, item]) => sum + (item[index] || 0), 0));
    found.push({ name: `${rest.length} more`, values, place: -1, share: size(values) / total });
  }
  return found;
}

/* Components as areas: what pays is stacked upwards from zero, what costs downwards. */
function stackedPlot(curves) {
  const parts = largest(curves.components);
  const zero = curves.timesteps.map(() => 0);
  const data = [curves.timesteps, zero];
  const series = [edge({})];
  const bands = [];
  for (const sign of [1, -1]) {
    let [before, base] = [zero, 1];
    for (const part of parts) {
      const next = before.map((value, index) => value + sign * Math.max(0, sign * (part.values[index] || 0)));
      data.push(next);
      series.push(edge({}));
      const top = data.length - 1;
      bands.push({ series: sign > 0 ? [top, base] : [base, top], fill: tinted(hue(part.place), 0.62) });
      [before, base] = [next, top];
    }
  }
  data.push(curves.timesteps.map((_, index) => parts.reduce((sum, part) => sum + (part.values[index] || 0), 0)));
  series.push(line("sum", colour("ink"), { width: 2, dash: [4, 3], points: { show: false } }));
  return { data, options: options([stepsAxis(), axis("y", "reward per step", { size: 52 })], {}, series, bands) };
}

/* -- around a chart -------------------------------------------------------------------------- */

/* A swatch of a series, as it is drawn. */
function swatch(place, dash, thick) {
  const stroke = place < 0 ? "var(--quiet)" : `var(--series-${place % HUES})`;
  return svg("svg.swatch", { width: 22, height: 10, "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 22, y1: 5, y2: 5, "stroke-width": thick ? 8 : 3, "stroke-dasharray": (dash || []).join(" ") || null, style: { stroke } }));
}

function figure(title, ...children) {
  return el("figure", {}, el("figcaption", {}, title), children);
}

/* The numbers behind a chart. */
function numbers(id, caption, steps, columns) {
  return fold(id, "The numbers as a table", () => table(
    `${id}-table`, caption,
    [th("steps"), columns.map((column) => th(column.name))],
    steps.map((step, index) => el("tr", {}, el("th", { scope: "row" }, whole(step)), columns.map((column) => number(column.show(index))))),
  ), ".quiet");
}
