// Finding a person works without this, on a page of its own: this opens it over any page, and goes through it by keys.
"use strict";

(function () {
  // Ctrl-K, Cmd-K on a Mac, or the link on top: the page /find, over this one.
  const apple = /Mac|iPhone|iPad/.test(navigator.platform);
  let finder;

  async function openFinder() {
    if (document.getElementById("find")) {
      document.getElementById("find-q").focus(); // it is open, or this is the page
      return;
    }
    const link = document.getElementById("find-link");
    if (!link) return;
    const answer = await fetch(link.href, { credentials: "same-origin" });
    const page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page && page.getElementById("find");
    if (!found) {
      window.location = link.href; // it says what is wrong
      return;
    }
    if (document.getElementById("find")) return; // pressed twice
    finder = document.createElement("dialog");
    finder.className = "finder-box";
    finder.setAttribute("aria-label", "Find a person");
    finder.append(document.importNode(found, true));
    finder.addEventListener("close", () => finder.remove());
    finder.addEventListener("click", (event) => event.target === finder && finder.close());
    document.body.append(finder);
    window.htmx.process(finder);
    finder.showModal();
    document.getElementById("find-q").focus();
  }

  // The arrows go through what was found; Enter in the field opens the first one.
  function choose(event) {
    const field = document.getElementById("find-q");
    if (!field || !event.target.closest("#find")) return;
    const hits = [...document.querySelectorAll("#find-hits .hits a")];
    const at = hits.indexOf(document.activeElement);
    if (event.key === "ArrowDown" && at < hits.length - 1) hits[at + 1].focus();
    else if (event.key === "ArrowUp" && at >= 0) (hits[at - 1] || field).focus();
    else if (event.key === "Enter" && event.target === field && finder && finder.open && hits.length) hits[0].click();
    else return;
    event.preventDefault();
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
