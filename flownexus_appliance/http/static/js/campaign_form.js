// The form of a new campaign: its start is in the browser's own time zone.
import { useLocalTimes } from "./asking.js";

useLocalTimes(document.querySelector("main"), { current: false });
