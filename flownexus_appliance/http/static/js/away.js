// Says calmly what stands between this page and the box: it is away, nobody is signed in any more, it was updated.
// One notice, beside the page and not in it: nothing moves, and nothing that somebody has typed is touched.
import { takeToken } from "./asking.js";
import { _ } from "./language.js";

const SIGN_IN = "/sign-in";
// The files of the box stand below an address made of their content: another one is another version.
const VERSION = /\/static\/([^/]+)\//.exec(import.meta.url)?.[1];

let notice = null; // {kind, element}

/** The box does not answer. */
export function showAway() {
  if (notice?.kind === "signed-out") return;
  show("away", _("The box is restarting or not reachable. This page comes back by itself."));
}

/** The box answers again, and lets this browser in. */
export function showBack() {
  const was = notice?.kind;
  if (was !== "away" && was !== "signed-out") return;
  hide();
  // Forms belong to a session: those that are filled in go on with the new one's token.
  if (was === "signed-out") renewForms();
}

/** The session has ended. Signing in happens in another tab, so that what is typed here stays. */
export function showSignedOut() {
  if (notice?.kind === "signed-out") return;
  const link = document.createElement("a");
  link.className = "button";
  link.href = `${SIGN_IN}?next=${encodeURIComponent(nextPlace())}`;
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = _("Sign in (in a new tab)");
  show("signed-out", _("Your session has ended. What you have typed here is kept: sign in and come back to this tab."), link);
}

/** What the box says of its files: where they are others than this page's, a reload is offered. */
export function showVersion(version) {
  // A page that is shown once must not be reloaded.
  if (!version || version === VERSION || notice || document.querySelector("[data-once]")) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = _("Reload");
  button.addEventListener("click", () => location.reload());
  show("updated", _("The box was updated. Reload this page when it suits you."), button);
}

/** Whether an answer says that nobody is signed in any more; tells it then. */
export function isSignedOut(response) {
  const ended = response.status === 401 || (response.redirected && new URL(response.url).pathname === SIGN_IN);
  if (ended) showSignedOut();
  return ended;
}

/** How the box takes this browser now: "in", "signed-out" or "away". */
export async function ask() {
  try {
    const response = await fetch("/api/v1/status", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (response.status === 401) return "signed-out";
    return response.ok ? "in" : "away";
  } catch {
    return "away";
  }
}

/** For pages without a stream: has `look` read what is new, and tells when the box is away and when it is back. */
export async function tend(look) {
  try {
    await look();
    showBack();
  } catch {
    if ((await ask()) === "away") showAway();
  }
}

function nextPlace() {
  return document.querySelector("[data-once]") ? "/" : location.pathname + location.search;
}

async function renewForms() {
  try {
    const response = await fetch("/help", { headers: { Accept: "text/html" } });
    takeToken(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    // A form that is sent with the old token is refused with a word about it.
  }
}

function show(kind, words, action = null) {
  hide();
  const element = document.createElement("div");
  element.className = "notice";
  element.dataset.notice = kind;
  element.setAttribute("role", "status");
  // A region that is there before its words come is read out everywhere.
  document.body.append(element);
  const text = document.createElement("p");
  text.textContent = words;
  element.append(text, ...(action ? [action] : []));
  notice = { kind, element };
}

function hide() {
  notice?.element.remove();
  notice = null;
}
