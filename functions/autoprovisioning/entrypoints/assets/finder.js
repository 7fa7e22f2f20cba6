// Finding a person works without this, on a page of its own: this opens it over any page, and goes through it by keys.
"use strict";

(function () {
  // Ctrl-K, Cmd-K on a Mac, or the link on top: the page /find, over this one.
  const apple = /Mac|iPhone|iPad/.test(navigator.platform);
  let finder; // the dialog

  function made(tag, attributes, ...children) {
    const element = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    element.append(...children);
    return element;
  }

  // What the page /find has, without waiting for it: who presses the keys goes on typing.
  function openFinder() {
    const shown = document.getElementById("find-q");
    const link = document.getElementById("find-link");
    if (shown) shown.focus(); // it is open, or this is the page
    if (shown || !link) return;
    const field = made("input", {
      id: "find-q", name: "q", type: "search", autocomplete: "off", spellcheck: "false", maxlength: "320",
      "aria-label": "Name or address", placeholder: "Name or address",
      "hx-get": `${link.href}?quick=1`, "hx-trigger": "input changed delay:150ms", "hx-target": "#find-box",
      "hx-select": "#find-hits", "hx-sync": "this:queue last",
    });
    const form = made("form", { action: link.href, role: "search", class: "finder" }, field);
    const keys = made("p", { class: "hint keys", "aria-hidden": "true" });
    [["\u2191", " "], ["\u2193", " choose "], ["Enter", " open "], ["Esc", " close"]].forEach(([key, does]) =>
      keys.append(made("kbd", {}, key), does),
    );
    const found = made("div", { id: "find", role: "group" }, form, keys, made("div", { id: "find-box", "aria-live": "polite" }));
    finder = made("dialog", { class: "finder-box", "aria-label": "Find a person" }, found);
    finder.addEventListener("close", () => finder.remove());
    finder.addEventListener("click", (event) => event.target === finder && finder.close());
    document.body.append(finder);
    window.htmx.process(finder);
    finder.showModal();
    field.focus();
  }

  // The arrows go through what was found; Enter in the field opens the first one, if that is what was typed.
  function choose(event) {
    const field = document.getElementById("find-q");
    if (!field || !event.target.closest("#find")) return;
    const hits = [...document.querySelectorAll("#find-hits .hits a")];
    const at = hits.indexOf(document.activeElement);
    if (event.key === "ArrowDown" && at < hits.length - 1) hits[at + 1].focus();
    else if (event.key === "ArrowUp" && at >= 0) (hits[at - 1] || field).focus();
    else if (event.key === "Enter" && event.target === field && finder?.open && hits.length && current(field)) hits[0].click();
    else return;
    event.preventDefault();
  }

  function current(field) {
    return document.getElementById("find-hits")?.dataset.q === field.value.trim();
  }

  function keys(event) {
    const held = apple ? event.metaKey : event.ctrlKey;
    if (held && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openFinder();
    } else choose(event);
  }

  function clicked(event) {
    const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
    if (!plain || !event.target.closest("#find-link")) return;
    event.preventDefault();
    openFinder();
  }

  document.addEventListener("keydown", keys);
  document.addEventListener("click", clicked);
  document.addEventListener("DOMContentLoaded", () => {
    if (apple) document.querySelectorAll(".find kbd").forEach((key) => (key.textContent = "\u2318 K"));
  });
})();
