// Uploads a package: its version is read from its head, a bar says how far it is, and it can be stopped.
import { takeToken, troubleOf } from "./asking.js";
import { sizeText } from "./format.js";
import { _ } from "./language.js";
import { HEAD_BYTES, versionIn } from "./mcuboot.js";

const form = document.querySelector("[data-upload]");
const drop = form.querySelector("[data-drop]");
const input = form.elements.package;
const version = form.elements.version;
const read = form.querySelector("[data-read]");
const sending = form.querySelector("[data-sending]");
const bar = sending.querySelector("progress");
const sent = sending.querySelector("[data-sent]");
const spoken = sending.querySelector("[data-spoken]");
const cancel = form.querySelector("[data-cancel]");
const button = form.querySelector("button[type=submit]");
const trouble = document.querySelector('[data-region="trouble"]');
const most = Number(form.dataset.max);

// What was filled in here, so that another file may fill in another; what somebody typed stays.
let filled = "";
let request = null;

async function look() {
  const [file] = input.files;
  read.textContent = "";
  input.setCustomValidity("");
  if (!file) return;
  const size = sizeText(file.size);
  if (file.size > most || file.size === 0) {
    const words = file.size
      ? _("%(name)s is too large: a package has at most %(most)s.", { name: file.name, most: sizeText(most) })
      : _("%(name)s is empty.", { name: file.name });
    input.setCustomValidity(words);
    read.textContent = words;
    return;
  }
  const found = versionIn(await file.slice(0, HEAD_BYTES).arrayBuffer());
  read.textContent = found
    ? _("%(size)s. The file says that it is version %(version)s.", { size, version: found })
    : _("%(size)s. The file has no MCUboot header: enter its version yourself.", { size });
  if (version.value === filled) {
    filled = found ?? "";
    version.value = filled;
  }
}

function begin() {
  const body = new FormData();
  // The fields come first, so that they are known when the file is refused.
  for (const element of form.elements) {
    if (element.name && element !== input) body.append(element.name, element.value);
  }
  body.append(input.name, input.files[0]);
  request = new XMLHttpRequest();
  request.responseType = "document";
  request.upload.addEventListener("progress", onProgress);
  request.addEventListener("load", () => done(request));
  request.addEventListener("error", () => fail(_("The upload broke off: the box did not answer. Try again.")));
  request.addEventListener("abort", () => settle());
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "text/html");
  request.send(body);
  trouble.replaceChildren();
  sending.hidden = cancel.hidden = false;
  if (document.activeElement === button) cancel.focus();
  button.disabled = true;
  bar.value = 0;
  sent.textContent = spoken.textContent = _("Sending");
}

let told = -1;

function onProgress({ loaded, total }) {
  const percent = total ? Math.floor((100 * loaded) / total) : 0;
  bar.value = percent;
  sent.textContent =
    percent < 100
      ? _("%(done)s of %(size)s", { done: `${percent} %`, size: sizeText(total) })
      : _("All is sent. The box checks and stores it.");
  // Whoever listens is told every quarter, not every block.
  if (Math.floor(percent / 25) === told) return;
  told = Math.floor(percent / 25);
  spoken.textContent = sent.textContent;
}

function done({ status, responseURL, response: page }) {
  const stayed = new URL(responseURL).pathname === new URL(form.action).pathname;
  if (status === 200 && !stayed) {
    location.assign(responseURL);
    return;
  }
  if (page) {
    takeToken(page);
    const fresh = page.querySelector("[data-upload]");
    if (fresh) form.action = fresh.getAttribute("action");
  }
  // What is said beside a field tells what to do, too.
  const wrong = page?.querySelector("[data-upload] .wrong");
  fail(wrong?.textContent.trim() || (page ? troubleOf(page) : _("The box did not take it")));
}

function fail(words) {
  settle();
  const banner = document.createElement("div");
  banner.className = "banner";
  banner.dataset.kind = "danger";
  banner.setAttribute("role", "alert");
  const text = document.createElement("p");
  text.append(words);
  banner.append(text);
  sending.before(banner);
  banner.scrollIntoView({ block: "nearest" });
}

function settle() {
  request = null;
  told = -1;
  const focused = document.activeElement === cancel;
  sending.hidden = cancel.hidden = true;
  button.disabled = false;
  if (focused) button.focus();
}

function onDrop(event) {
  event.preventDefault();
  drop.removeAttribute("data-over");
  if (!event.dataTransfer.files.length) return;
  const files = new DataTransfer();
  files.items.add(event.dataTransfer.files[0]);
  input.files = files.files;
  look();
}

input.addEventListener("change", look);
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.setAttribute("data-over", "");
});
drop.addEventListener("dragleave", () => drop.removeAttribute("data-over"));
drop.addEventListener("drop", onDrop);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  form.querySelector(".banner")?.remove();
  if (!request) begin();
});
cancel.addEventListener("click", () => request?.abort());
look(); // a browser may have kept the file over a reload
