// Before anything is painted: the theme that the reader chose the last time.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("scripted");
  try {
    const chosen = localStorage.getItem("kvmtrace-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // Nothing is kept for this page: it follows the system.
  }
})();
