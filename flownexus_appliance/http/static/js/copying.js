// Buttons that copy or save what a field shows.
import { TEXTS } from "./texts.js";

const TOLD_MS = 2000;

function shown(id) {
  const element = document.getElementById(id);
  return element.value ?? element.textContent;
}

/** Marks the text, for who copies by hand where the browser does not let a script do it. */
function mark(id) {
  const element = document.getElementById(id);
  if (element.select) element.select();
  else document.getSelection().selectAllChildren(element);
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(shown(button.dataset.copy));
  } catch {
    mark(button.dataset.copy);
    return;
  }
  const label = button.querySelector("span");
  label.textContent = TEXTS.copied;
  setTimeout(() => (label.textContent = TEXTS.copy), TOLD_MS);
}

/** Saves the text as a file without asking the box: what is secret goes into no address. */
function save(button) {
  const url = URL.createObjectURL(new Blob([shown(button.dataset.download)], { type: "application/x-pem-file" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = button.dataset.file;
  link.click();
  URL.revokeObjectURL(url);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy], button[data-download]");
  if (!button) return;
  if (button.dataset.copy) copy(button);
  else save(button);
});

// A page that a browser has kept for "back" would show its secrets again.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
