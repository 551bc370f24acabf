// The menu in the header opens and closes by itself, being <details>. Elsewhere a click closes it, and Escape.
const LEFT = "signed-out";

const menu = document.querySelector("details[data-menu]");

function close() {
  menu.open = false;
}

if (menu) {
  document.addEventListener("click", (event) => menu.open && !menu.contains(event.target) && close());
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    close();
    menu.querySelector("summary").focus();
  });
  try {
    forgetPages();
  } catch {
    // No storage: such a page says that the session has ended.
  }
}

/** A browser keeps pages as they were for "back", whatever Cache-Control says: not those of who has signed out. */
function forgetPages() {
  sessionStorage.removeItem(LEFT);
  menu.querySelector("form").addEventListener("submit", () => sessionStorage.setItem(LEFT, "1"));
  window.addEventListener("pageshow", ({ persisted }) => {
    if (persisted && sessionStorage.getItem(LEFT)) location.reload();
  });
}
