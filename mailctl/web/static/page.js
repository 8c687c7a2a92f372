// What the pages can do more with a script; without one everything is there as well.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    const label = button.firstChild;
    label.data = "Copied";
    setTimeout(() => { label.data = "Copy"; }, 1500);
  });
}

const rows = [...document.querySelectorAll("[data-rows] tbody tr")];
const search = document.querySelector("[data-search]");
const hint = document.querySelector("[data-keys]");
if (hint) hint.hidden = rows.length === 0;

const isTyping = (target) => target.closest("input, select, textarea, [contenteditable]");

const choose = (step) => {
  const links = rows.map((row) => row.querySelector("a")).filter(Boolean);
  const at = links.indexOf(document.activeElement);
  const next = links[Math.min(links.length - 1, Math.max(0, at + step))];
  if (next) next.focus();
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "j") choose(1);
  else if (event.key === "k") choose(-1);
  else if (event.key === "/" && search) search.focus();
  else return;
  event.preventDefault();
});

// A preview shows a template as it is now: when it has changed, the page is loaded again.
const live = document.querySelector("[data-live]");
if (live) {
  setInterval(async () => {
    const answer = await fetch(live.dataset.live).catch(() => null);
    if (answer?.ok && (await answer.json()).version !== live.dataset.version) location.reload();
  }, 1000);
}

// Figures that change: fetched again while somebody looks, unless the numbers of a chart are open.
const fresh = document.querySelector("[data-fresh]");
if (fresh) {
  setInterval(async () => {
    if (document.hidden || fresh.querySelector("details[open]") || fresh.contains(document.activeElement)) return;
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    fresh.replaceChildren(...page.querySelector("[data-fresh]").childNodes);
  }, fresh.dataset.fresh * 1000);
}
