// Lines over time, drawn by uPlot; made again when the colours change.
"use strict";

const Charts = (() => {
  const MOST = 900;
  const COLOURS = ["--one", "--two", "--three", "--four"];
  const made = new Map();

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const text = (value) => (value === null || value === undefined ? "unknown" : value.toFixed(1));
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

  function options(chart, width) {
    const ink = colour("--soft");
    const line = colour("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const series = chart.names.map((name, at) => ({
      label: name,
      stroke: colour(COLOURS[at % COLOURS.length]),
      width: 2,
      dash: at >= COLOURS.length || name === "headroom" ? [6, 4] : undefined,
      spanGaps: false,
      points: { show: chart.times.length < 3 },
      value: (_, value, at, index) => text(index === null ? chart.values[at - 1].at(-1) : value),
    }));
    return {
      width,
      height: 170,
      cursor: { drag: { x: false, y: false } },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_, low, high) => limits(low, high) } },
      axes: [{ ...axis, space: 90, values: (_, times) => times.map(clock) }, { ...axis, size: 46, space: 30 }],
      series: [{ label: "at", value: (_, at) => clock(at === null ? chart.times.at(-1) : at) }, ...series],
    };
  }

  function limits(low, high) {
    if (low === null || high === null) return [0, 1];
    const room = Math.max(1, (high - low) * 0.15);
    return [Math.max(0, Math.floor(low - room)), Math.ceil(high + room)];
  }

  function draw(chart) {
    const known = chart.values.some((values) => values.some((value) => value !== null));
    chart.host.classList.toggle("empty", !known);
    chart.host.setAttribute("aria-label", said(chart));
    if (!known) {
      if (chart.plot) chart.plot.destroy();
      chart.plot = null;
      chart.host.textContent = chart.nothing;
      return;
    }
    const data = [chart.times, ...chart.values];
    const width = Math.max(200, chart.host.clientWidth);
    if (!chart.plot) {
      chart.host.textContent = "";
      chart.plot = new uPlot(options(chart, width), data, chart.host);
    } else {
      if (chart.plot.width !== width) chart.plot.setSize({ width, height: 170 });
      chart.plot.setData(data);
    }
  }

  function said(chart) {
    const last = chart.names.map((name, at) => {
      return `${name} ${text(chart.values[at].at(-1))}`;
    });
    return last.length ? `${chart.title}, now: ${last.join(", ")}` : `${chart.title}: ${chart.nothing}`;
  }

  // points: [[name, value or null], …]; a new name starts with unknowns.
  function add(id, title, nothing, at, points) {
    let chart = made.get(id);
    if (!chart) {
      chart = { host: document.getElementById(id), title, nothing, names: [], times: [], values: [], plot: null };
      made.set(id, chart);
    }
    for (const [name] of points) {
      if (chart.names.includes(name)) continue;
      chart.names.push(name);
      chart.values.push(chart.times.map(() => null));
      if (chart.plot) chart.plot.destroy();
      chart.plot = null;
    }
    const now = new Map(points);
    chart.times.push(at);
    chart.values.forEach((values, number) => values.push(now.get(chart.names[number]) ?? null));
    if (chart.times.length > MOST) {
      chart.times.shift();
      chart.values.forEach((values) => values.shift());
    }
    draw(chart);
  }

  function again() {
    for (const chart of made.values()) {
      if (chart.plot) chart.plot.destroy();
      chart.plot = null;
      draw(chart);
    }
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("resize", () => made.forEach(draw));
  return { add };
})();
