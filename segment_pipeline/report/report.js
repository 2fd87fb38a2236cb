// Hovering over a mark says its figures, as readers aloud hear them; a link to what is folded unfolds it; the button
// overrides the system's light or dark.
(function () {
  "use strict";
  var tip = document.getElementById("tip");
  function markOf(node) {
    return node && node.closest ? node.closest("[data-tip], svg [role='graphics-symbol'][aria-label]") : null;
  }
  function show(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    var width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(x + 14, window.innerWidth - width - 8)) + "px";
    tip.style.top = (y + 18 + height > window.innerHeight ? y - height - 12 : y + 18) + "px";
  }
  document.addEventListener("pointermove", function (event) {
    var mark = markOf(event.target);
    if (mark) {
      show(mark.getAttribute("data-tip") || mark.getAttribute("aria-label"), event.clientX, event.clientY);
    } else {
      tip.hidden = true;
    }
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") { tip.hidden = true; }
  });
  // one link leads to what prints the whole appendix, and nothing else
  function unfold() {
    var alone = window.location.hash === "#print-appendix";
    document.documentElement.classList.toggle("alone", alone);
    if (alone) {
      document.querySelectorAll("#appendix details").forEach(function (fold) { fold.open = true; });
      document.getElementById("appendix").scrollIntoView();
    }
    var target = document.getElementById(window.location.hash.slice(1));
    if (target && target.tagName === "DETAILS") { target.open = true; }
  }
  window.addEventListener("hashchange", unfold);
  unfold();
  // on a phone the rows of such a table are blocks: every cell then carries the name of its column
  document.querySelectorAll("table.told").forEach(function (table) {
    var names = table.querySelectorAll("thead th");
    table.querySelectorAll("tbody tr").forEach(function (row) {
      Array.prototype.forEach.call(row.cells, function (cell, place) { cell.dataset.name = names[place].textContent; });
    });
    table.classList.add("named");
  });
  var button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", function () {
    var root = document.documentElement;
    var system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    button.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  });
})();
