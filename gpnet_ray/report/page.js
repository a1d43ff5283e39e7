"use strict";
// Tables that sort and filter, and charts that say under the pointer which material it is.
// Without it the page is whole: tables in their order, and the figures.

for (const table of document.querySelectorAll("table.sortable")) {
  makeSortable(table);
}
for (const form of document.querySelectorAll("form.filter")) {
  makeFilter(form);
}
drawCharts();

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table.tBodies[0], column, descending);
    });
  });
}

function sortRows(body, column, descending) {
  const keyed = [...body.rows]
    .filter((row) => row.cells[0].colSpan === 1)
    .map((row) => [sortKey(row.cells[column]), row]);
  const last = [...body.rows].filter((row) => row.cells[0].colSpan > 1);
  keyed.sort(([a], [b]) => {
    // What has no value stays at the end in both directions.
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : inWords(a, b);
    return descending ? -order : order;
  });
  body.append(...keyed.map(([, row]) => row), ...last);
}

function sortKey(cell) {
  const value = cell.dataset.value;
  if (value === undefined) return cell.textContent || null;
  return value === "" ? null : Number(value);
}

function inWords(a, b) {
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function makeFilter(form) {
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows].filter(
    (row) => row.cells[0].colSpan === 1,
  );
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const shown = form.querySelector("output");
  const update = () => {
    const wanted = form.elements.text.value.trim().toLowerCase();
    const arm = form.elements.arm.value;
    let count = 0;
    rows.forEach((row, number) => {
      const fits = texts[number].includes(wanted) && (!arm || row.cells[0].textContent === arm);
      row.hidden = !fits;
      count += fits;
    });
    shown.value = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  };
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

async function drawCharts() {
  const packed = document.getElementById("plotly");
  if (!packed) return;
  const status = document.getElementById("charts-status");
  if (!("DecompressionStream" in window)) {
    status.textContent = "This browser is too old for the charts; the figures below are the same.";
    return;
  }
  await load(packed);
  const data = JSON.parse(document.getElementById("charts-data").textContent);
  const charts = document.getElementById("charts");
  charts.hidden = false;
  if (data.curves) await drawCurves(data);
  if (data.map) await drawMap(data);
  status.remove();
  charts.dataset.ready = "yes";
}

async function load(packed) {
  const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

// Plotly reads a few tags in texts; names must stay what they are.
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function rounded(value) {
  if (value === null) return "–";
  return value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 100)
    ? value.toFixed(4)
    : value.toPrecision(4);
}

const FONT = { family: 'system-ui, "Segoe UI", Roboto, Arial, sans-serif', size: 13, color: "#1b1b1b" };

function layout(changes) {
  return {
    font: FONT,
    margin: { l: 64, r: 12, t: 12, b: 56 },
    hovermode: "closest",
    hoverlabel: { align: "left", bgcolor: "#fff", font: FONT },
    legend: { orientation: "h", y: -0.2, yanchor: "top" },
    // A finger scrolls the page and does not draw a frame to zoom into.
    dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    ...changes,
  };
}

function axis(title, changes) {
  const grid = { gridcolor: "#e3e3e3", zeroline: false, linecolor: "#1b1b1b", showline: true };
  return { title: { text: plain(title) }, automargin: true, ...grid, ...changes };
}

const CONFIG = { responsive: true, displaylogo: false };

async function drawCurves({ curves, measures, unit }) {
  const chart = document.getElementById("chart-curves");
  const choice = document.getElementById("chart-measure");
  const traces = (measure) =>
    curves.map((curve) => ({
      type: "scatter",
      mode: "lines+markers",
      marker: { size: curve.labelled.map((_, row) => markerSize(curve, row)), opacity: 1 },
      name: plain(curve.name),
      x: curve.labelled,
      y: curve[measure],
      line: { color: curve.colour, dash: curve.dash, width: 2 },
      text: curve.labelled.map((_, row) => curveText(curve, row, measure)),
      hovertemplate: "%{text}<extra></extra>",
    }));
  // Of a long curve, only where the network was trained again.
  const markerSize = (curve, row) =>
    curve.labelled.length <= 60 ? 6 : isTrainedAgain(curve, row) ? 8 : 0;
  const isTrainedAgain = (curve, row) => row > 0 && curve.cycle[row] === curve.cycle[row - 1];
  const draw = () => {
    const measure = choice.value;
    return Plotly.react(
      chart,
      traces(measure),
      layout({
        xaxis: axis("Labelled materials", { tickformat: ",d" }),
        yaxis: axis(measures[measure]),
      }),
      CONFIG,
    );
  };
  const curveText = (curve, row, measure) => {
    const lines = [
      `<b>${plain(curve.name)}</b>, cycle ${curve.cycle[row]}`,
      `${curve.labelled[row].toLocaleString("en")} labelled`,
      `${plain(measures[measure])}: ${rounded(curve[measure][row])}`,
    ];
    if (isTrainedAgain(curve, row)) lines.push("the network trained again");
    if (curve.picks[row]) lines.push(`labelled last: ${plain(curve.picks[row])}`);
    if (curve.sigma[row] !== null) lines.push(`σ of it: ${rounded(curve.sigma[row])} ${plain(unit)}`);
    return lines.join("<br>");
  };
  choice.addEventListener("change", draw);
  await draw();
}

async function drawMap({ map, unit }) {
  const text = (group, row) => {
    const lines = [
      `<b>${plain(group.ids[row])}</b> ${plain(group.formulas[row])}`,
      plain(group.texts[row]),
    ];
    if (group.values[row] !== null) lines.push(`label: ${rounded(group.values[row])} ${plain(unit)}`);
    return lines.filter((line) => line).join("<br>");
  };
  await Plotly.newPlot(
    document.getElementById("chart-map"),
    map.groups.map((group) => ({
      type: "scatter",
      mode: "markers",
      name: plain(group.name),
      visible: group.shown || "legendonly",
      x: group.x,
      y: group.y,
      marker: { color: group.colour, size: group.size, symbol: group.symbol, opacity: group.opacity },
      text: group.ids.map((_, row) => text(group, row)),
      hovertemplate: "%{text}<extra></extra>",
    })),
    layout({
      // The directions mean nothing, so the axes are not drawn.
      xaxis: { visible: false, scaleanchor: "y" },
      yaxis: { visible: false },
      margin: { l: 4, r: 4, t: 4, b: 4 },
      legend: { orientation: "h", y: 0, yanchor: "top", itemsizing: "constant" },
    }),
    CONFIG,
  );
}
