// The menu in the header opens and closes by itself, being <details>. Elsewhere a click closes it, and Escape.
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
}
