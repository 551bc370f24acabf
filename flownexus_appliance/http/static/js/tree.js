// The resource tree in place: what a button or a form asks of the device is told in its row, now and when it ends.
import { writeMoments } from "./app.js";
import { send, troubleOf, useLocalTimes } from "./asking.js";
import { getPage } from "./fetching.js";
import { TEXTS } from "./texts.js";

const DONE = new Set(["CONFIRMED", "FAILED", "EXPIRED", "CANCELLED"]);
const MAX_ENDED = 200;

export class Tree {
  #page;
  #url;
  #told = new Map(); // path -> the element that tells of it
  #pending = new Map(); // operation -> path
  #ended = new Set(); // operations that the stream told of, lest one ends before its asking is answered
  #panel = null; // {element, path, which}: the one form that is open
  #asked;

  /** `page` holds the region "tree"; `url` is the address of the device; `asked` is called after each asking. */
  constructor(page, url, asked) {
    this.#page = page;
    this.#url = url;
    this.#asked = asked;
    page.addEventListener("submit", (event) => this.#onSubmit(event));
    page.addEventListener("click", (event) => this.#onClick(event));
    page.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target.closest("[data-panel]")) this.#close();
    });
  }

  /** Something became of an operation. */
  onOperation({ id, status }) {
    if (!DONE.has(status)) return;
    this.#ended.add(id);
    if (this.#ended.size > MAX_ENDED) this.#ended.delete(this.#ended.values().next().value);
    if (this.#pending.has(id)) this.#look(this.#pending.get(id));
  }

  /** Events were missed: look at all that is not done. */
  onReset() {
    for (const path of new Set(this.#pending.values())) this.#look(path);
  }

  /** Has `task` put a fresh tree in place of this one, and keeps in it what is told and what is open. */
  through(task) {
    const focused = this.#panel?.element.contains(document.activeElement) ? document.activeElement : null;
    task();
    for (const [path, element] of this.#told) {
      const place = this.#place(path);
      if (place) place.append(element);
      else this.#told.delete(path);
    }
    if (this.#panel) this.#insert();
    focused?.focus({ preventScroll: true });
  }

  #onSubmit(event) {
    const { target: form, submitter } = event;
    if (new URL(form.action).pathname !== `${this.#url}/operations`) return;
    event.preventDefault();
    const asked = submitter?.name === "ask" ? submitter.value : form.elements.ask.value;
    this.#ask(form, submitter, asked.split(" ")[1]);
  }

  async #ask(form, button, path) {
    if (button?.getAttribute("aria-busy") === "true") return;
    button?.setAttribute("aria-busy", "true");
    const panel = form.closest("[data-panel]");
    this.#tell(path, "SENDING", TEXTS.asking);
    try {
      const answer = await send(form, button, { back: "resource" });
      if (answer.taken) {
        if (panel && panel === this.#panel?.element) this.#close();
        this.#take(path, answer.page);
      } else {
        this.#refused(path, panel, answer.page);
      }
    } catch {
      this.#tell(path, "FAILED", TEXTS.notSent);
    }
    button?.removeAttribute("aria-busy");
    this.#asked();
  }

  /** Shows what is wrong: beside the field where it is one. */
  #refused(path, panel, page) {
    const fresh = panel && page.querySelector(`[data-panel="${panel.dataset.panel}"]`);
    if (!fresh?.querySelector("[aria-invalid]") || panel !== this.#panel?.element) {
      this.#tell(path, "FAILED", troubleOf(page));
      return;
    }
    this.#told.get(path)?.remove();
    this.#told.delete(path);
    this.#prepare(fresh);
    panel.replaceWith(fresh);
    this.#panel.element = fresh;
    fresh.querySelector("[aria-invalid]").focus();
  }

  /** Takes over from the page of a path what became of the asking, and how the path is reported. */
  #take(path, page) {
    const lines = [...page.querySelectorAll('[data-region="told"] [data-told]')];
    for (const [id, at] of this.#pending) if (at === path) this.#pending.delete(id);
    let missed = false;
    for (const line of lines) {
      if (DONE.has(line.dataset.status)) continue;
      const id = Number(line.dataset.told);
      this.#pending.set(id, path);
      missed ||= this.#ended.has(id);
    }
    const told = this.#tell(path, lines.at(-1)?.dataset.status ?? "CONFIRMED", "");
    if (told) {
      told.replaceChildren(...lines);
      writeMoments(told);
    }
    this.#renew(path, page);
    if (missed) this.#look(path);
  }

  async #look(path) {
    const ids = [...this.#pending].filter(([, at]) => at === path).map(([id]) => id);
    for (const id of ids) this.#ended.delete(id);
    try {
      const query = ids.map((id) => `operation=${id}`).join("&");
      this.#take(path, await getPage(`${this.#url}/resources${path}?${query}`));
    } catch {
      // The next event, or the reset after the connection is back, looks again.
    }
  }

  /** The buttons of a row say whether it is observed. */
  #renew(path, page) {
    const fresh = page.querySelector(`[data-row="${path}"]`);
    const old = this.#row(path);
    if (!fresh || !old) return;
    const cells = (row) => (row.matches(".acts") ? row : row.querySelector(".acts"));
    const focused = [...cells(old).children].indexOf(document.activeElement);
    cells(old).replaceChildren(...cells(fresh).childNodes);
    cells(old).children[focused]?.focus({ preventScroll: true });
    const reported = (row) => (row.matches(".acts") ? row.parentElement : row.querySelector("td"));
    for (const line of reported(old).querySelectorAll(":scope > .reported")) line.remove();
    const lines = reported(fresh).querySelectorAll(":scope > .reported");
    if (old.matches(".acts")) old.after(...lines);
    else reported(old).append(...lines);
  }

  #row(path) {
    return this.#page.querySelector(`[data-region="tree"] [data-row="${path}"]`);
  }

  /** Where what is told of a path stands: below its row. */
  #place(path) {
    const row = this.#row(path);
    if (!row || row.matches(".acts")) return row && row.parentElement;
    const known = row.querySelector(".tells");
    if (known) return known;
    const cell = row.insertCell();
    cell.className = "tells";
    cell.setAttribute("role", "cell");
    return cell;
  }

  #tell(path, status, text) {
    const place = this.#place(path);
    if (!place) return null;
    let told = this.#told.get(path);
    if (!told) {
      told = document.createElement("div");
      told.className = "told";
      told.setAttribute("role", "status");
      place.append(told);
      this.#told.set(path, told);
    }
    told.dataset.status = status;
    told.textContent = text;
    return told;
  }

  #onClick(event) {
    if (event.target.closest("[data-close]")) {
      this.#close();
      return;
    }
    const link = event.target.closest("a[data-open]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const path = link.closest("[data-row]").dataset.row;
    const which = link.dataset.open;
    const same = this.#panel?.path === path && this.#panel.which === which;
    this.#close();
    if (!same) this.#open(link, path, which);
  }

  async #open(link, path, which) {
    let element;
    try {
      const page = await getPage(link.href.replace(/#.*/, ""));
      element = page.querySelector(`[data-panel="${which}"]`);
    } catch {
      this.#tell(path, "FAILED", TEXTS.notSent);
      return;
    }
    if (!element || this.#panel) return;
    this.#prepare(element);
    this.#panel = { element, path, which };
    this.#insert();
    element.querySelector("input:not([type=hidden]), select, textarea, button")?.focus();
  }

  #prepare(element) {
    for (const button of element.querySelectorAll("[data-close]")) button.hidden = false;
    useLocalTimes(element);
    writeMoments(element);
  }

  /** Puts the open form behind the row that it is about. */
  #insert() {
    const { element, path } = this.#panel;
    const row = this.#row(path);
    if (!row) {
      this.#panel = null;
      return;
    }
    if (row.matches(".acts")) {
      row.parentElement.after(element);
      return;
    }
    const line = row.parentElement.insertRow(row.sectionRowIndex + 1);
    line.className = "panel-row";
    line.setAttribute("role", "row");
    const cell = line.insertCell();
    cell.setAttribute("role", "cell");
    cell.append(element);
  }

  #close() {
    if (!this.#panel) return;
    const { element, path, which } = this.#panel;
    const focused = element.contains(document.activeElement);
    (element.closest("tr.panel-row") ?? element).remove();
    this.#panel = null;
    if (focused) this.#row(path)?.querySelector(`[data-open="${which}"]`)?.focus({ preventScroll: true });
  }
}
