// The search in the tree of organizational units, while it is typed; without this, the button beside it does the same.
"use strict";

(function () {
  const field = document.getElementById("unit-search");
  const tree = document.getElementById("units");
  if (!field || !tree) return;
  const told = document.getElementById("units-found");
  let known = null;

  // Whoever is above comes first.
  function read() {
    const units = new Map();
    tree.querySelectorAll("li").forEach((item) => {
      const label = item.querySelector("label");
      const above = units.get(item.parentElement.closest("li"));
      const name = label.querySelector("span").textContent.toLowerCase();
      const path = above ? `${above.path}/${name}` : `/${name.replace(/^\//, "")}`;
      const below = item.querySelector(":scope > details");
      units.set(item, { item, below, name, path, above, box: label.querySelector("input") });
    });
    return [...units.values()];
  }

  function matches(unit, wanted) {
    if (!wanted.includes("/")) return unit.name.includes(wanted);
    return unit.path.includes(wanted) && !unit.path.slice(0, unit.path.lastIndexOf("/")).includes(wanted);
  }

  function narrow() {
    known = known || read();
    const wanted = field.value.trim().toLowerCase();
    for (const unit of known) {
      unit.matches = wanted !== "" && matches(unit, wanted);
      unit.shown = wanted === "" || unit.matches || Boolean(unit.above && unit.above.shown);
      unit.open = false;
    }
    for (const unit of [...known].reverse()) {
      const leads = wanted === "" ? unit.box.checked : unit.matches;
      if (unit.above && (leads || unit.open)) unit.above.open = unit.above.shown = true;
    }
    for (const unit of known) {
      if (unit.item.hidden === unit.shown) unit.item.hidden = !unit.shown;
      if (unit.below && unit.below.open !== unit.open) unit.below.open = unit.open;
    }
    tell(wanted);
  }

  function tell(wanted) {
    const found = known.filter((unit) => unit.matches).length;
    const leftOut = known.filter((unit) => unit.box.checked && !unit.shown).length;
    const count = `${found.toLocaleString("en")} ${found === 1 ? "unit matches" : "units match"}.`;
    const rest = leftOut ? ` Chosen and not shown: ${leftOut.toLocaleString("en")}.` : "";
    told.textContent = wanted ? count + rest : "";
  }

  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(narrow, 100);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it is shown already
    narrow();
  });
})();
