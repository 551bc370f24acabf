// Runs before the first paint, so that a stored choice of theme does not flash. Not a module for that reason.
// The choice is "light", "dark" or none, which follows the system.
(() => {
  const link = document.getElementById("dark-tokens");
  const root = document.documentElement;
  root.classList.add("js");

  const apply = (choice) => {
    if (choice === "light" || choice === "dark") {
      root.dataset.theme = choice;
      link.media = choice === "dark" ? "all" : "not all";
    } else {
      delete root.dataset.theme;
      link.media = "(prefers-color-scheme: dark)";
    }
  };

  let stored = null;
  try {
    stored = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden: the system decides then.
  }
  apply(stored);
  document.addEventListener("theme", (event) => apply(event.detail));
})();
