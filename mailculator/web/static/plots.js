// Plots of the last quarter of an hour, each with its numbers as text beside it, drawn by the vendored uPlot.

import { drawing, element } from "./dom.js";
import { KEPT } from "./live.js";
import * as words from "./words.js";

const HEIGHT = 130;
const LEAST = 120; // seconds that a plot spans at least
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];
const WIDTHS = [2.75, 2, 1.5, 1.25]; // where lines run into one, each still shows at the sides of the next

const specs = new Map(); // by key: what the newest overview wants drawn
const drawn = new WeakMap(); // by element: {chart, form}

/**
 * A plot. Lines differ in colour and in dashes; the legend says what each of them is, and its newest value.
 *
 * @param {string} key stays the same from one overview to the next
 * @param {string} name what is drawn, as a caption
 * @param {Array} lines `{name, at, values}`, columns as in Live.series
 * @param {Function} say a value in words
 */
export function plot(key, name, lines, say) {
  specs.set(key, { lines, say });
  return element(
    "figure",
    { class: "plot", "data-key": key },
    element("figcaption", {}, name),
    element(
      "ul",
      { class: "legend" },
      lines.map((line, number) =>
        element("li", {}, swatch(number), `${line.name} `, element("b", {}, newest(line, say))),
      ),
    ),
    element("div", {
      class: "canvas",
      role: "img",
      "aria-label": described(name, lines, say),
      "data-plot": key,
      "data-kept": true,
    }),
  );
}

/** Draw all plots that stand beneath `container`; to be called when they have been rendered. */
export function draw(container) {
  for (const place of container.querySelectorAll("[data-plot]")) {
    const spec = specs.get(place.dataset.plot);
    if (spec && place.clientWidth) update(place, spec);
  }
}

function update(place, spec) {
  const data = window.uPlot.join(spec.lines.map((line) => [line.at, line.values]));
  const form = `${place.clientWidth} ${scheme().matches} ${spec.lines.length}`;
  const known = drawn.get(place);
  if (known?.form === form) {
    known.chart.setData(data);
    return;
  }
  known?.chart.destroy();
  drawn.set(place, { form, chart: new window.uPlot(options(place.clientWidth, spec), data, place) });
}

function scheme() {
  return window.matchMedia("(prefers-color-scheme: dark)");
}

function options(width, { lines, say }) {
  const axis = {
    stroke: colour("--faint"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui",
  };
  return {
    width,
    height: HEIGHT,
    tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: span }, y: { range: (_, __, most) => [0, Math.max(most ?? 0, 1) * 1.1] } },
    axes: [
      {
        ...axis,
        values: (_, splits) => splits.map((at) => words.at(at * 1000).slice(11, 16)),
        size: 22,
        space: 70,
        incrs: [60, 120, 300],
      },
      { ...axis, values: (_, splits) => splits.map((value) => say(value)), size: 48, space: 28 },
    ],
    series: [
      {},
      ...lines.map((line, number) => ({
        label: line.name,
        stroke: lineColour(number),
        width: WIDTHS[number],
        dash: DASHES[number],
        points: { show: false },
      })),
    ],
  };
}

function span(chart) {
  const times = chart.data[0];
  const end = times.at(-1) ?? Date.now() / 1000;
  return [Math.max(end - KEPT, Math.min(times[0] ?? end, end - LEAST)), end];
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function lineColour(number) {
  return colour(`--line-${number + 1}`);
}

function swatch(number) {
  const stroke = drawing("line", {
    x1: 0,
    y1: 4,
    x2: 24,
    y2: 4,
    "stroke-width": WIDTHS[number],
    "stroke-dasharray": DASHES[number].join(" ") || null,
  });
  return drawing("svg", { class: `swatch line-${number + 1}`, width: 24, height: 8, "aria-hidden": "true" }, stroke);
}

function newest(line, say) {
  const value = line.values.at(-1);
  return value === null || value === undefined ? "not known" : say(value);
}

function described(name, lines, say) {
  const all = lines.map((line) => {
    const known = line.values.filter((value) => value !== null);
    return known.length
      ? `${line.name} ${newest(line, say)}, at the most ${say(Math.max(...known))}`
      : `${line.name} not known`;
  });
  const times = lines[0]?.at ?? [];
  const length = times.length > 1 ? ` over the last ${words.span(Math.round(times.at(-1) - times[0]))}` : "";
  return `${name}${length}: ${all.join("; ")}.`;
}
