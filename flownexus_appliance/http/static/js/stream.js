// The live stream: one EventSource a page. It connects again by itself, rests while the page is hidden, and says
// how it stands by the state "connecting", "live" or "lost".
import { ask, showAway, showBack, showSignedOut, showVersion } from "./away.js";

const NAMES = [
  "registration", "presence", "values", "operation", "observation", "counts",
  "firmware_update", "firmware_campaign", "firmware",
];
// Between two tries: longer each time, so that a box that starts is not asked by all at once.
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 15_000;
// A reload or a new filter breaks the connection for a blink: only tell of what lasts.
const LOST_MS = 700;
const AWAY_MS = 2000;
// A browser allows six connections to one host: tabs nobody looks at must not hold one.
const HIDDEN_MS = 20_000;
const MAX_URL = 12_000;

export class Stream {
  #handlers;
  #source = null;
  #endpoints;
  #after;
  #retry = 0;
  #delay = FIRST_RETRY_MS;
  #rest = 0;
  #quiet = 0;
  #away = 0;
  #broken = false;
  #resting = false;

  /**
   * `handlers` has a function for each event name, `state` for the connection's state, and `reset` for
   * when events may have been missed and everything shown must be read anew.
   */
  constructor(handlers, endpoints, after) {
    this.#handlers = handlers;
    this.#endpoints = endpoints;
    this.#after = after;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    window.addEventListener("pagehide", () => this.#close());
    window.addEventListener("pageshow", (event) => event.persisted && this.#open());
    // The machine has a network again, or somebody comes back from another tab, maybe signed in.
    for (const name of ["online", "focus"]) window.addEventListener(name, () => this.#broken && this.#tryNow());
    // Opened behind another tab: nobody has looked at it yet, and it may stay so.
    this.#resting = document.hidden;
    if (!this.#resting) this.#open();
  }

  /** Listen to other devices from now on. */
  follow(endpoints) {
    if (endpoints.join("\n") === this.#endpoints.join("\n")) return;
    this.#endpoints = endpoints;
    if (this.#source) this.#open();
  }

  #open() {
    this.#close();
    const source = new EventSource(this.#url());
    this.#source = source;
    source.onopen = () => this.#onOpen();
    source.onerror = () => source === this.#source && this.#onError();
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        this.#after = event.lastEventId || this.#after;
        this.#handlers[name]?.(JSON.parse(event.data));
      });
    }
    source.addEventListener("reset", () => this.#handlers.reset?.());
    source.addEventListener("hello", (event) => showVersion(JSON.parse(event.data).version));
  }

  #url() {
    const query = new URLSearchParams(this.#endpoints.map((endpoint) => ["endpoint", endpoint]));
    const url = `/api/v1/stream?after=${encodeURIComponent(this.#after)}`;
    const filter = query.toString();
    // Too long for a request line: listen to the whole fleet.
    return filter && filter.length < MAX_URL ? `${url}&${filter}` : url;
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #onOpen() {
    clearTimeout(this.#away);
    this.#away = 0;
    this.#delay = FIRST_RETRY_MS;
    this.#settle("live");
    showBack();
    // What is no event has changed too, it may be; and a box that started anew knows none of the old ones.
    if (this.#broken) this.#handlers.reset?.();
    this.#broken = false;
  }

  /** The stream itself does not say why it broke, so the box is asked. */
  async #onError() {
    this.#close();
    this.#broken = true;
    this.#settle("lost");
    const wait = this.#delay * (0.75 + Math.random() / 2);
    this.#delay = Math.min(this.#delay * 2, LAST_RETRY_MS);
    this.#retry = setTimeout(() => this.#open(), wait);
    const how = await ask();
    if (!this.#broken) return;
    if (how === "away") this.#away ||= setTimeout(() => this.#broken && showAway(), AWAY_MS);
    if (how !== "signed-out") return;
    showSignedOut();
    // Nothing to try before somebody has signed in; then this tab is looked at.
    clearTimeout(this.#away);
    clearTimeout(this.#retry);
  }

  #tryNow() {
    this.#delay = FIRST_RETRY_MS;
    this.#open();
  }

  #settle(state) {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#handlers.state?.(state), state === "lost" ? LOST_MS : 0);
  }

  #onVisibility() {
    clearTimeout(this.#rest);
    if (document.hidden) {
      this.#rest = setTimeout(() => {
        this.#resting = true;
        this.#close();
      }, HIDDEN_MS);
    } else if (this.#broken) {
      this.#tryNow();
    } else if (this.#resting) {
      this.#resting = false;
      this.#settle("connecting");
      this.#open();
      this.#handlers.reset?.();
    }
  }
}
