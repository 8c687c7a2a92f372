// Enhancements of the pages; without JavaScript, everything is accessible as well.
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

// Keyboard shortcuts of lists.
const rows = [...document.querySelectorAll("[data-rows] tbody tr")];
const search = document.querySelector("[data-search]");
const hint = document.querySelector("[data-keys]");
if (hint) hint.hidden = rows.length === 0;

const isFormField = (target) => target.closest("input, select, textarea, [contenteditable]");

const moveFocus = (step) => {
  const links = rows.map((row) => row.querySelector("a")).filter(Boolean);
  const index = links.indexOf(document.activeElement);
  const next = links[Math.min(links.length - 1, Math.max(0, index + step))];
  if (next) next.focus();
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isFormField(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "j") moveFocus(1);
  else if (event.key === "k") moveFocus(-1);
  else if (event.key === "/" && search) search.focus();
  else return;
  event.preventDefault();
});

// A preview reloads when its template has changed.
const preview = document.querySelector("[data-version-url]");
if (preview) {
  setInterval(async () => {
    const response = await fetch(preview.dataset.versionUrl).catch(() => null);
    if (response?.ok && (await response.json()).version !== preview.dataset.version) location.reload();
  }, 1000);
}

// Figures are refreshed while the page is visible, but not while an element in them is open or has the focus.
const figures = document.querySelector("[data-refresh-seconds]");
if (figures) {
  setInterval(async () => {
    if (document.hidden || figures.querySelector("details[open]") || figures.contains(document.activeElement)) return;
    const response = await fetch(location.href).catch(() => null);
    if (!response?.ok || response.redirected) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    figures.replaceChildren(...page.querySelector("[data-refresh-seconds]").childNodes);
  }, figures.dataset.refreshSeconds * 1000);
}
