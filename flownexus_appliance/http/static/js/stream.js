// The live stream: one EventSource a page. It reconnects by itself, rests while the page is hidden, and says
// how it stands by the state "connecting", "live" or "lost".

const NAMES = ["registration", "presence", "values", "operation", "observation", "counts"];
const RETRY_MS = 3000;
// A browser allows six connections to one host: tabs nobody looks at must not hold one.
const HIDDEN_MS = 20_000;
const MAX_URL = 12_000;

export class Stream {
  #handlers;
  #source = null;
  #endpoints;
  #after;
  #retry = 0;
  #rest = 0;
  #quiet = 0;

  /**
   * `handlers` has a function for each event name, `state` for the connection's state, and `reset` for
   * when events were missed and everything shown must be read anew.
   */
  constructor(handlers, endpoints, after) {
    this.#handlers = handlers;
    this.#endpoints = endpoints;
    this.#after = after;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    window.addEventListener("pagehide", () => this.#close());
    window.addEventListener("pageshow", (event) => event.persisted && this.#open());
    this.#open();
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
    source.onopen = () => this.#settle("live");
    source.onerror = () => this.#onError(source);
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        this.#after = event.lastEventId || this.#after;
        this.#handlers[name]?.(JSON.parse(event.data));
      });
    }
    source.addEventListener("reset", () => this.#handlers.reset?.());
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

  #onError(source) {
    this.#settle("lost");
    // After a refusal (too many listeners, a restart) the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#open(), RETRY_MS);
    }
  }

  #settle(state) {
    clearTimeout(this.#quiet);
    // A reload or a new filter breaks the connection for a blink: only tell of what lasts.
    const delay = state === "lost" ? 700 : 0;
    this.#quiet = setTimeout(() => this.#handlers.state?.(state), delay);
  }

  #onVisibility() {
    clearTimeout(this.#rest);
    if (document.hidden) {
      this.#rest = setTimeout(() => this.#close(), HIDDEN_MS);
    } else if (!this.#source) {
      this.#settle("connecting");
      this.#open();
      this.#handlers.reset?.();
    }
  }
}
