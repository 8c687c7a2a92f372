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

// Figures are refreshed while the page is visible, but not while an element in them is open or has the focus, or
// while a text in them is selected. If the server does not answer, the page says how old they are.
const figures = document.querySelector("[data-refresh-seconds]");
// A server that accepts a request may never answer it.
const PATIENCE_MILLISECONDS = 10000;
if (figures) {
  const stale = document.querySelector("[data-stale]");
  let readAt = new Date();
  const hasSelection = () => {
    const selection = document.getSelection();
    return !selection.isCollapsed && selection.containsNode(figures, true);
  };
  const isInUse = () => figures.querySelector("details[open]") || figures.contains(document.activeElement) || hasSelection();
  const refresh = async () => {
    if (document.hidden || isInUse()) return;
    const response = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE_MILLISECONDS) }).catch(() => null);
    const reason = !response ? "The server does not answer." : response.redirected ? "You are signed out: reload the page."
      : response.ok ? "" : `The server answers with status ${response.status}.`;
    stale.hidden = !reason;
    stale.textContent = reason && `${reason} These figures are from ${readAt.toLocaleTimeString()}.`;
    if (reason || isInUse()) return;
    readAt = new Date();
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    figures.replaceChildren(...page.querySelector("[data-refresh-seconds]").childNodes);
  };
  setInterval(refresh, figures.dataset.refreshSeconds * 1000);
  document.addEventListener("visibilitychange", refresh);
}
