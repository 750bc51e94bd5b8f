// Light or dark: what the machine prefers, until a press of the button says otherwise; that is remembered.

/** Returns a function that changes it; `changed` is called after each change. */
export function setUpTheme(button, changed) {
  const root = document.documentElement;
  const preferred = matchMedia("(prefers-color-scheme: dark)");

  const toggle = () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : preferred.matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch { /* no storage: the choice lasts as long as the page */ }
    changed();
  };
  button.addEventListener("click", toggle);
  preferred.addEventListener("change", changed);
  try {
    const kept = localStorage.getItem("theme");
    if (kept === "light" || kept === "dark") {
      root.dataset.theme = kept;
      changed();
    }
  } catch { /* no storage */ }
  return toggle;
}
