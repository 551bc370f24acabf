"""`flownexus device`: which devices there are, what they are called here, how they prove who they are."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError, clean
from . import given
from .console import Refused, below
from .output import (
    DONE,
    add_common,
    console,
    device_name,
    moment,
    say_fields,
    say_json,
    say_table,
    whole_seconds,
)

CSR_MAX_BYTES: Final = 32 * 1024
PRESENCES: Final = ("online", "sleeping", "offline")
SORTS: Final = ("name", "label", "heard", "state")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("device", help="devices and their credentials")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="all devices")
    listing.add_argument("--search", default="", metavar="TEXT", help="in names and labels")
    listing.add_argument("--presence", default="", choices=PRESENCES, help="only those")
    listing.add_argument("--tag", default="", metavar="TAG", help="only those that have it")
    listing.add_argument("--sort", default="name", choices=SORTS, help="name, label, last heard, or state")
    show = actions.add_parser("show", help="one device, with the credentials it has and had")
    add = actions.add_parser("add", help="give a device a key or a certificate of its own")
    _add_adding(add)
    remove = actions.add_parser("remove", help="take a device's credentials away; it is out at once")
    remove.add_argument("--credential", type=int, metavar="ID", help="this one alone")
    enrol = actions.add_parser("enrol", help="let unknown devices get a key of their own for some minutes")
    how = enrol.add_mutually_exclusive_group()
    how.add_argument("--minutes", type=int, default=10, metavar="N", help="how long (10)")
    how.add_argument("--close", action="store_true", help="no longer")
    bootstrap = actions.add_parser("bootstrap", help="ask a device to bootstrap now")
    label = actions.add_parser("label", help="give a device a name of your own; none takes it away")
    setting = actions.add_parser("set", help="note label, tags, notes of a device; how long it listens")
    _add_setting(setting)
    window = actions.add_parser("window", help="how long a sleeping device listens after it was heard")
    for action, run in (
        (listing, _list),
        (show, _show),
        (add, _add),
        (remove, _remove),
        (enrol, _enrol),
        (bootstrap, _bootstrap),
        (label, _label),
        (setting, _set),
        (window, _window),
    ):
        if run not in (_list, _enrol):
            action.add_argument("name", type=device_name, metavar="NAME", help="the device's endpoint name")
        add_common(action)
        action.set_defaults(run=run)
    label.add_argument("text", nargs="?", default="", metavar="TEXT", help="such as Greenhouse")
    window.add_argument("seconds", type=_window_seconds, metavar="SECONDS", help="or: default")


def _add_setting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", metavar="TEXT", help="a name of your own; '' takes it away")
    parser.add_argument(
        "--note", metavar="TEXT", help="notes in place of those before; - reads standard input"
    )
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="add a tag; again for more")
    parser.add_argument("--untag", action="append", default=[], metavar="TAG", help="take a tag away")
    parser.add_argument(
        "--awake",
        type=_window_seconds,
        metavar="SECONDS",
        help="how long a sleeping device listens after it was heard, or: default",
    )


def _add_adding(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--psk", action="store_true", help="a pre-shared key (so without --cert)")
    kind.add_argument("--cert", action="store_true", help="a certificate")
    parser.add_argument("--identity", metavar="TEXT", help="the key's identity (the device's name)")
    parser.add_argument(
        "--key", metavar="HEX", help="a key that there is already; - reads it from standard input"
    )
    parser.add_argument(
        "--csr", type=Path, metavar="FILE", help="certify the key of this request (PKCS#10, PEM)"
    )
    parser.add_argument("--days", type=int, metavar="N", help="how long the certificate is valid")
    parser.add_argument("--label", default="", metavar="TEXT", help="a note of your own")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write it into a new folder, files 0600")
    parser.add_argument("--for", dest="form", choices=tuple(given.FORMS), help="as this client takes it")


def _list(options: argparse.Namespace) -> int:
    box = console(options)
    asked = {"q": options.search, "state": options.presence, "tag": options.tag, "sort": options.sort}
    devices = box.items("/endpoints", **asked)
    counted: dict[str, Counter[str]] = {}
    for credential in box.items("/credentials", state="good"):
        counted.setdefault(credential["endpoint"], Counter())[credential["kind"]] += 1
    for device in devices:
        device["credentials"] = dict(counted.get(device["endpoint"], {}))
    if options.json:
        return say_json(devices)
    rows = [
        (
            device["endpoint"],
            device["state"],
            _counts(device["credentials"]),
            moment(device["last_seen_ms"] or None),
            device["label"],
            ", ".join(device["tags"]),
        )
        for device in devices
    ]
    say_table(("NAME", "STATE", "CREDENTIALS", "LAST SEEN", "LABEL", "TAGS"), rows)
    return 0


def _show(options: argparse.Namespace) -> int:
    box = console(options)
    device = box.get(below("endpoints", options.name))
    device["credentials"] = box.items(below("endpoints", options.name, "/credentials"))
    if options.json:
        return say_json(device)
    registration = device["registration"] or {}
    say_fields(
        [
            ("Name", clean(device["endpoint"])),
            ("Label", clean(device["label"])),
            ("Tags", clean(", ".join(device["tags"]))),
            ("State", device["state"]),
            ("First seen", moment(device["first_seen_ms"] or None)),
            ("Last seen", moment(device["last_seen_ms"] or None)),
            ("Address", registration.get("address", "not registered")),
            ("LwM2M", registration.get("lwm2m_version", "")),
            ("Registered until", moment(registration.get("expires_ms"), "")),
            ("Awake window", "" if (window := device["awake_window_s"]) is None else f"{window:g} s"),
        ]
    )
    for line in device["notes"].splitlines():
        print(f"  | {clean(line)}")
    print()
    _say_credentials(device["credentials"])
    return 0


def _add(options: argparse.Namespace) -> int:
    body = _wanted(options)
    # The key is told once: what could fail about where it goes must fail before it is made.
    given.check(options.form, options.out, certificate=body["kind"] == "certificate")
    answer = console(options).post("/endpoints", body)
    if options.out is None:
        if options.json:
            return say_json(answer)
        given.say(answer, options.form)
        return 0
    files = given.write(answer, options.form, options.out)
    if options.json:
        return say_json({"credential": answer["credential"], "files": [str(path) for path in files]})
    print(f"Written for {clean(options.name)}, readable by this user alone:")
    for path in files:
        print(f"  {path}")
    return 0


def _wanted(options: argparse.Namespace) -> dict[str, Any]:
    """The body of the request that gives a credential."""
    certificate = options.cert or options.csr is not None
    if certificate and (options.psk or options.identity is not None or options.key is not None):
        raise UsageError(
            "options_conflict",
            "a certificate has no key or identity to be given",
            "leave out --psk, --identity, --key",
        )
    if not certificate and options.days is not None:
        raise UsageError("options_conflict", "a key has no end", "leave out --days, or add --cert")
    body: dict[str, Any] = {
        "endpoint": options.name,
        "kind": "certificate" if certificate else "psk",
        "identity": options.identity,
        "key": sys.stdin.readline().strip() if options.key == "-" else options.key,
        "csr": None if options.csr is None else _read(options.csr),
        "valid_days": options.days,
        "label": options.label,
    }
    return {name: value for name, value in body.items() if value is not None}


def _remove(options: argparse.Namespace) -> int:
    box = console(options)
    if options.credential is None:
        answer = box.delete(below("endpoints", options.name, "/credentials"))
    else:
        known = box.items(below("endpoints", options.name, "/credentials"), state="good")
        if options.credential not in [one["id"] for one in known]:
            raise Refused(
                "credential_unknown",
                f"{clean(options.name)} has no credential {options.credential}",
                f"list them: flownexus device show {clean(options.name)}",
            )
        answer = box.delete(f"/credentials/{options.credential}")
    if options.json:
        return say_json(answer)
    number = answer["removed"]
    what = "1 credential" if number == 1 else f"{number} credentials"
    print(f"{what} of {clean(options.name)} removed; what was connected by it is out.")
    return 0


def _enrol(options: argparse.Namespace) -> int:
    box = console(options)
    if options.close:
        answer = box.delete("/enrolment")
        if options.json:
            return say_json(answer)
        print("Enrolment is closed.")
        return 0
    answer = box.post("/enrolment", {"minutes": options.minutes})
    if options.json:
        return say_json(answer)
    print(f"Enrolment is open until {moment(answer['ends_ms'])}.")
    print("Devices bootstrap by this key, which is shown only now:\n")
    say_fields(
        [
            ("Server", given.uri_of(answer)),
            ("Identity", answer["psk"]["identity"]),
            ("Key", answer["psk"]["key"]),
        ]
    )
    return 0


def _bootstrap(options: argparse.Namespace) -> int:
    answer = console(options).post(below("endpoints", options.name, "/bootstrap"))
    if options.json:
        say_json(answer)
    if answer["status"] != "CONFIRMED":
        raise Refused(
            "device_refused",
            f"{clean(options.name)} did not take it: {answer['message'] or answer['code']}",
            answer["hint"] or "restart the device: it bootstraps when it starts, if it is made for that",
        )
    if not options.json:
        print(f"{clean(options.name)} comes to bootstrap.")
    return 0


def _label(options: argparse.Namespace) -> int:
    return _configured(options, {"label": options.text})


def _set(options: argparse.Namespace) -> int:
    change: dict[str, Any] = {}
    if options.label is not None:
        change["label"] = options.label
    if options.note is not None:
        change["notes"] = sys.stdin.read().rstrip("\n") if options.note == "-" else options.note
    if options.awake is not None:
        change["awake_window_s"] = options.awake
    if options.tag or options.untag:
        known = console(options).get(below("endpoints", options.name))["tags"]
        away = {tag.strip().casefold() for tag in options.untag}
        change["tags"] = [*(tag for tag in known if tag.casefold() not in away), *options.tag]
    if not change:
        raise UsageError(
            "options_missing", "nothing to set", "give --label, --note, --tag, --untag or --awake"
        )
    return _configured(options, change)


def _window(options: argparse.Namespace) -> int:
    return _configured(options, {"awake_window_s": options.seconds})


def _window_seconds(text: str) -> int:
    """0 stands for what the configuration says."""
    return 0 if text == "default" else whole_seconds(text)


def _configured(options: argparse.Namespace, change: dict[str, Any]) -> int:
    answer = console(options).patch(below("endpoints", options.name), change)
    if options.json:
        return say_json(answer)
    label, window = answer["label"], answer["awake_window_s"]
    what = "as configured" if window is None else f"{window:g} s"
    tags = f", tags {clean(', '.join(answer['tags']))}" if answer["tags"] else ""
    print(f"{clean(options.name)}: label {clean(label) or '-'}{tags}, awake window {what}.")
    return DONE


def _say_credentials(credentials: list[Any]) -> None:
    rows = [
        (
            str(one["id"]),
            one["kind"],
            one["state"],
            one["origin"],
            one["identity"],
            moment(one["made_ms"]),
            moment(one["not_after_ms"], "-"),
            moment(one["last_used_ms"]),
            one["label"],
        )
        for one in credentials
    ]
    headers = ("ID", "KIND", "STATE", "FROM", "IDENTITY", "MADE", "ENDS", "LAST USED", "LABEL")
    if rows:
        say_table(headers, rows)
    else:
        print("No credentials: the device may use plain CoAP, where that is on.")


def _counts(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "-"


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > CSR_MAX_BYTES:
            raise UsageError("file_unusable", f"{path} is too large for a request", "name a PKCS#10 request")
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise UsageError(
            "file_unusable", f"cannot read {path}: {error.strerror}", "check the name"
        ) from error
    except UnicodeDecodeError:
        raise UsageError(
            "file_unusable", f"{path} is not PEM", "convert it: openssl req -inform DER -in request.der"
        ) from None
