// Sends forms without leaving the page. The box answers with the page that a browser would show next.
import { isSignedOut } from "./away.js";
import { momentText } from "./format.js";
import { TEXTS } from "./texts.js";

const TIMEOUT_MS = 20_000;
const TOKEN = "form_token";

let before = Promise.resolve();

/**
 * Sends a form as its button would; `more` are fields besides. The answer's page, and whether it was taken.
 *
 * One after the other: a form's token is good once, and the answer brings the next one for all of the page.
 */
export function send(form, button, more = {}) {
  const answer = before.then(() => sendNow(form, button, more));
  before = answer.catch(() => {});
  return answer;
}

/** Gives every form the token of a page that was just read. */
export function takeToken(page) {
  const fresh = page.querySelector(`input[name="${TOKEN}"]`)?.value;
  if (!fresh) return;
  for (const input of document.querySelectorAll(`input[name="${TOKEN}"]`)) input.value = fresh;
}

async function sendNow(form, button, more) {
  const body = new URLSearchParams(new FormData(form, button));
  for (const [name, value] of Object.entries(more)) body.set(name, value);
  const response = await fetch(form.action, {
    method: "POST",
    body,
    headers: { Accept: "text/html" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  // The page to sign in on is no answer to the form.
  const ended = isSignedOut(response);
  if (!ended) takeToken(page);
  return { taken: response.ok && !ended, page };
}

/** What a page says is wrong, as text. */
export function troubleOf(page) {
  const words = page.querySelector('[data-region="trouble"] .banner') ?? page.querySelector(".banner, main .card");
  return words ? words.textContent.replace(/\s+/g, " ").trim() : TEXTS.notTaken;
}

/**
 * Inputs of a moment are in the browser's own time zone from now on; what is sent stays UTC. `current`: what
 * stands there is how it is now, which the hint says too.
 */
export function useLocalTimes(root, { current = true } = {}) {
  for (const input of root.querySelectorAll("input[data-utc]")) {
    const sent = document.createElement("input");
    sent.type = "hidden";
    sent.name = input.name;
    input.removeAttribute("name");
    input.removeAttribute("data-utc");
    input.after(sent);
    const begun = input.value ? new Date(`${input.value}Z`) : null;
    if (begun) input.value = localText(begun);
    const write = () => {
      const moment = new Date(input.value);
      sent.value = Number.isNaN(moment.getTime()) ? "" : moment.toISOString().replace(/\.\d+Z$/, "Z");
    };
    input.addEventListener("input", write);
    write();
    const hint = root.querySelector(`#${input.id}-hint`);
    if (hint) hint.textContent = TEXTS.localTime(begun && current ? momentText(begun.getTime()) : "");
  }
}

function localText(moment) {
  const shifted = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}
