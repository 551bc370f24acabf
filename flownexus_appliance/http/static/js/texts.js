// The words that several scripts put on a page.
import { _, n_ } from "./language.js";

export const TEXTS = {
  live: { live: _("Live"), connecting: _("Connecting"), lost: _("Connection lost") },
  states: { online: _("Online"), sleeping: _("Sleeping"), offline: _("Offline") },
  notes: { online: _("listening"), sleeping: _("wakes by itself"), offline: _("not reachable") },
  themes: { system: _("as the system"), light: _("light"), dark: _("dark") },
  theme: (name) => _("Theme: %(name)s", { name }),
  copy: _("Copy"),
  copied: _("Copied"),
  asking: _("Waiting for the device"),
  notSent: _("The box did not answer: try again"),
  notTaken: _("The box did not take it"),
  localTime: (moment) =>
    moment
      ? _("In this browser's time zone. Now %(moment)s.", { moment })
      : _("In this browser's time zone."),
  found: (count) => n_("%(num)s device", "%(num)s devices", count),
};
