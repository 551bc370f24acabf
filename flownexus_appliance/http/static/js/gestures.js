// What a hand does on a plot: drag zooms in, Shift and drag moves, two fingers do both, a double click resets.
// One finger up or down still scrolls the page (touch-action in charts.css).

const SLACK_PX = 6;
const LEAST_PX = 8;
const WHEEL_ZOOM = 0.01;
const DOUBLE_TAP_MS = 350;

/**
 * Has gestures in `box` move `view`. `plotted()` gives the uPlot that is drawn there now, or null; `point(px)`
 * shows what lies at a place that was tapped.
 */
export function gestures(box, view, plotted, point) {
  const fingers = new Map(); // pointer id -> x and y in the plot
  let act = null; // what is under way
  let tapped = -Infinity;

  const place = (event) => {
    const { left, top } = plotted().over.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const width = () => plotted().over.clientWidth;
  const momentAt = (x, [begin, end]) => begin + (x / width()) * (end - begin);

  function begin(event) {
    if (!plotted()?.over.contains(event.target) || event.button !== 0) return;
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 2) {
      select(0, 0);
      act = { kind: "pinch", from: pair(), window: view.window() };
      for (const id of fingers.keys()) box.setPointerCapture(id);
    } else if (fingers.size === 1) {
      const kind = event.shiftKey ? "pan" : "select";
      act = { kind, x: place(event).x, window: view.window(), moved: false };
    }
  }

  function move(event) {
    if (!act || !fingers.has(event.pointerId) || !plotted()) return;
    fingers.set(event.pointerId, place(event));
    if (act.kind === "pinch") pinch();
    else drag(event, place(event).x);
  }

  function drag(event, x) {
    if (!act.moved && Math.abs(x - act.x) < SLACK_PX) return;
    if (!act.moved) box.setPointerCapture(event.pointerId);
    act.moved = true;
    if (act.kind === "select") {
      const inside = Math.max(0, Math.min(width(), x));
      select(Math.min(act.x, inside), Math.abs(inside - act.x));
    } else {
      const [from, to] = act.window;
      const shift = ((act.x - x) / width()) * (to - from);
      view.show(from + shift, to + shift);
    }
  }

  /** What was under the fingers stays under them. */
  function pinch() {
    const [from, to] = act.window;
    const now = pair();
    const span = ((to - from) * act.from.apart) / Math.max(LEAST_PX, now.apart);
    const start = momentAt(act.from.x, act.window) - (now.x / width()) * span;
    view.show(start, start + span);
  }

  function pair() {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, apart: Math.max(LEAST_PX, Math.hypot(a.x - b.x, a.y - b.y)) };
  }

  function end(event) {
    if (!fingers.delete(event.pointerId) || !act) return;
    const done = act;
    if (done.kind === "pinch" || event.type === "pointercancel") {
      if (fingers.size === 0 || event.type === "pointercancel") cancel();
      return;
    }
    cancel();
    if (!plotted()) return;
    const x = Math.max(0, Math.min(width(), place(event).x));
    if (done.kind === "select" && done.moved && Math.abs(x - done.x) >= LEAST_PX) {
      view.show(momentAt(Math.min(x, done.x), done.window), momentAt(Math.max(x, done.x), done.window));
    } else if (!done.moved && event.pointerType !== "mouse") {
      tap(event, x);
    }
  }

  function tap(event, x) {
    if (event.timeStamp - tapped < DOUBLE_TAP_MS) view.reset();
    else point(x);
    tapped = event.timeStamp;
  }

  function cancel() {
    act = null;
    select(0, 0);
  }

  function select(left, across) {
    plotted()?.setSelect({ left, width: across, top: 0, height: across ? plotted().over.clientHeight : 0 }, false);
  }

  /** Two fingers on a pad: sideways moves, together or apart zooms. Up and down scrolls the page. */
  function wheel(event) {
    if (!plotted()?.over.contains(event.target)) return;
    if (event.ctrlKey) {
      view.zoom(Math.exp(event.deltaY * WHEEL_ZOOM), momentAt(place(event).x, view.window()));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      view.pan(event.deltaX / width());
    } else {
      return;
    }
    event.preventDefault();
  }

  box.addEventListener("pointerdown", begin);
  box.addEventListener("pointermove", move);
  box.addEventListener("pointerup", end);
  box.addEventListener("pointercancel", end);
  box.addEventListener("wheel", wheel, { passive: false });
  box.addEventListener("dblclick", () => view.reset());
  document.addEventListener("keydown", (event) => event.key === "Escape" && act && cancel());
}
