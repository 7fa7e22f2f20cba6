// The console works without this: it draws the chart of a table on the page, moves the focus to what is wrong, and warns
// before what was typed is lost.
"use strict";

(function () {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A table with a row for each day and a column for each kind of event.
  function readTable(table) {
    const heads = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
    const rows = [...table.tBodies[0].rows].reverse(); // newest first in the table, oldest first in the chart
    return {
      labels: rows.map((row) => row.cells[0].dataset.label),
      series: heads.map((label, at) => ({
        label,
        data: rows.map((row) => Number(row.cells[at + 1].dataset.value)),
      })),
    };
  }

  function options() {
    const text = colour("--faint");
    const line = colour("--line");
    const axis = { stacked: true, ticks: { color: text }, grid: { color: line } };
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { ...axis, grid: { display: false } },
        y: { ...axis, beginAtZero: true, ticks: { color: text, precision: 0 } },
      },
      plugins: { legend: { position: "bottom", labels: { color: text, boxWidth: 12, boxHeight: 12 } } },
    };
  }

  function draw(canvas) {
    const table = document.getElementById(canvas.dataset.table);
    if (!table || !window.Chart) return;
    const found = readTable(table);
    const datasets = found.series.map((series, at) => ({
      ...series,
      backgroundColor: colour(`--chart-${(at % 7) + 1}`),
      maxBarThickness: 24,
    }));
    const shown = window.Chart.getChart(canvas);
    if (shown) shown.destroy();
    new window.Chart(canvas, { type: "bar", data: { labels: found.labels, datasets }, options: options() });
  }

  function drawAll() {
    document.querySelectorAll("canvas[data-table]").forEach(draw);
  }

  function focusProblem() {
    const summary = document.getElementById("error-summary");
    if (summary) summary.focus();
  }

  // On a phone the tabs are a strip that scrolls: the current one is to be seen.
  function showTab() {
    const tab = document.querySelector(".sections [aria-current]");
    const strip = tab && tab.closest("ul");
    if (strip) strip.scrollLeft = tab.offsetLeft - (strip.clientWidth - tab.offsetWidth) / 2;
  }

  // Times to the second are told in the reader's time zone; who points at one sees it in UTC.
  function showLocally() {
    const form = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
    const say = (at) => (at ? form.format(new Date(at)) : `Times are in ${form.resolvedOptions().timeZone}.`);
    document.querySelectorAll("[data-local], [data-zone]").forEach((each) => (each.textContent = say(each.dateTime)));
  }

  // What was typed into a form of settings and not sent is lost if the page is left, unless by a link that says so.
  const guarded = new Map();
  let leaving = false;
  function typed(form) {
    const fields = new FormData(form);
    fields.delete("q"); // the search for groups
    fields.delete("u"); // and that for units
    fields.delete("sample"); // whose values are shown
    return new URLSearchParams(fields).toString();
  }

  function guard() {
    document.querySelectorAll("form[data-guarded]").forEach((form) => {
      guarded.set(form, form.dataset.guarded === "unsaved" ? null : typed(form));
    });
    document.querySelectorAll("a[data-discards]").forEach((link) => {
      link.addEventListener("click", () => (leaving = true));
    });
  }

  function warn(event) {
    if (!leaving && [...guarded].some(([form, was]) => typed(form) !== was)) event.preventDefault();
  }

  // A second click on a slow form would ask twice, or be refused as stale.
  const sent = new WeakMap();
  function once(event) {
    const form = event.target;
    if (form.method !== "post") return;
    if (event.timeStamp - (sent.get(form) ?? -Infinity) < 3000) event.preventDefault();
    else {
      sent.set(form, event.timeStamp);
      leaving = true;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    [drawAll, focusProblem, showTab, showLocally, guard].forEach((act) => act());
  });
  window.addEventListener("beforeunload", warn);
  document.addEventListener("submit", once);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
