// Filters and sorts the grid. Without this file the page shows everything, newest first.
"use strict";

const MADE = Date.parse(document.documentElement.dataset.made);
const old = document.getElementById("old");
const days = Math.floor((Date.now() - MADE) / 864e5);
if (old && days > 1) {
  // The page cannot know that it is no longer made; the reader's clock can.
  old.textContent = `This page was made ${days} days ago; nothing newer has been published.`;
  old.hidden = false;
}

const form = document.getElementById("filters");
if (form) {
  const bodies = [...document.querySelectorAll("table.grid tbody")].map((body) => [body, [...body.rows]]);
  const count = document.getElementById("count");
  const size = (row, name) => Number(row.dataset[name] || 0);
  const ORDERS = {
    released: (a, b) => (b.dataset.released || "").localeCompare(a.dataset.released || ""),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
    total: (a, b) => size(b, "total") - size(a, "total"),
    active: (a, b) => size(b, "active") - size(a, "active"),
    level: (a, b) => size(b, "level") - size(a, "level"),
  };
  const between = (value, range) => {
    const [low, high] = range.split("-").map((end) => (end === "" ? Infinity : Number(end)));
    return value > 0 && value >= low * 1e9 && value < high * 1e9; // nobody knows how large it is: in no range
  };
  const squares = (row) => [...row.cells].filter((cell) => cell.dataset.colour && !cell.hidden);

  const keeps = (row, wanted) =>
    (!wanted.q || wanted.q.toLowerCase().split(/\s+/).every((word) => row.dataset.text.includes(word))) &&
    ["organisation", "country", "licence"].every((key) => !wanted[key] || row.dataset[key] === wanted[key]) &&
    (!wanted.kind || row.dataset.kinds.split(" ").includes(wanted.kind)) &&
    (!wanted.total || between(size(row, "total"), wanted.total)) &&
    (!wanted.active || between(size(row, "active"), wanted.active)) &&
    (!wanted.level || squares(row).some((cell) => Number(cell.dataset.level) >= Number(wanted.level))) &&
    (!wanted.state || squares(row).some((cell) => cell.dataset.colour === wanted.state));

  const show = () => {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const cell of document.querySelectorAll("table.grid [data-channel]")) {
      cell.hidden = Boolean(wanted.channel) && cell.dataset.channel !== wanted.channel;
    }
    for (const [body, rows] of bodies) {
      const section = body.closest("section");
      for (const row of rows) {
        row.hidden = !keeps(row, wanted);
      }
      body.append(...[...rows].sort(ORDERS[wanted.sort] || ORDERS.released));
      section.hidden = Boolean(wanted.device) && section.dataset.device !== wanted.device;
      const left = rows.filter((row) => !row.hidden).length;
      section.querySelector(".nothing").hidden = left > 0;
      shown += section.hidden ? 0 : left;
    }
    count.textContent = `${shown} model${shown === 1 ? "" : "s"} shown`;
    return wanted;
  };

  const remember = () => {
    const wanted = Object.entries(show()).filter(([key, value]) => value && !(key === "sort" && value === "released"));
    const query = new URLSearchParams(wanted).toString();
    if (location.protocol !== "file:") {
      history.replaceState(null, "", query ? `?${query}` : location.pathname);
    }
  };

  for (const [key, value] of new URLSearchParams(location.search)) {
    const field = form.elements[key];
    if (field && (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value))) {
      field.value = value;
    }
  }
  const box = document.getElementById("choosing");
  box.hidden = false;
  box.open = Boolean(location.search) || matchMedia("(min-width: 44rem)").matches;
  form.addEventListener("input", remember);
  form.addEventListener("change", remember);
  form.addEventListener("reset", () => setTimeout(remember));
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}
