// The account, and people: passwords shown on demand; the theme chosen by its name.
import "./app.js";
import "./reveal.js";

const choice = document.getElementById("theme");

function show() {
  choice.value = document.documentElement.dataset.theme ?? "system";
}

if (choice) {
  show();
  choice.addEventListener("change", () => {
    try {
      if (choice.value === "system") localStorage.removeItem("theme");
      else localStorage.setItem("theme", choice.value);
    } catch {
      // Not stored: it holds for this page.
    }
    document.dispatchEvent(new CustomEvent("theme", { detail: choice.value }));
  });
  document.addEventListener("theme", show);
}
