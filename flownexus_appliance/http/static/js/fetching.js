// Requests to the box: few at a time, so that charts never keep a page waiting.
import { isSignedOut } from "./away.js";

const AT_ONCE = 2;
const TIMEOUT_MS = 20_000;

const waiting = [];
let running = 0;

/** Fetches JSON in turn. `signal` takes a request out of the queue or ends it. */
export async function getJson(url, signal) {
  await turn(signal);
  try {
    const response = await fetch(url, { signal: both(signal), headers: { Accept: "application/json" } });
    isSignedOut(response);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message ?? response.statusText);
    return answer;
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** Fetches a page as a document to take parts from. */
export async function getPage(url, signal) {
  const response = await fetch(url, { signal: both(signal), headers: { Accept: "text/html" } });
  if (isSignedOut(response) || !response.ok) throw new Error(response.statusText);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Fetches the present page anew; null while the box is away, which the stream's sign tells. */
export async function freshPage() {
  try {
    return await getPage(location.href);
  } catch {
    return null;
  }
}

async function turn(signal) {
  if (running >= AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  running += 1;
  if (signal?.aborted) {
    running -= 1;
    waiting.shift()?.();
    throw signal.reason;
  }
}

function both(signal) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}
