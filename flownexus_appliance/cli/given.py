"""What a new device is to hold, in the form that its client takes, on the terminal or in a folder.

The daemon tells a key once, so everything that can be wrong about where it goes is checked before it is
asked for. The forms are those of `fleet.recipes`, which the pages show too.
"""

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from ..fleet.recipes import CA, CERTIFICATE, PRIVATE_KEY, RECIPES, Material, Pems, Psk, Recipe, suits

PRIVATE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
FORMS: Final[Mapping[str, Recipe]] = RECIPES


def check(form: str | None, out: Path | None, *, certificate: bool) -> None:
    """Whether it can be told like this; raises UsageError: `form_unsuitable`, `folder_needed`,
    `file_unusable`."""
    chosen = FORMS.get(form or "")
    if chosen is not None:
        if not (chosen.certificate if certificate else chosen.psk):
            other = "a key" if certificate else "a certificate"
            raise UsageError(
                "form_unsuitable", f"--for {form} is for {other}", "leave out --for, or choose the other kind"
            )
        if certificate and chosen.files and out is None:
            raise UsageError(
                "folder_needed",
                f"--for {form} reads a certificate from files",
                "name a new folder with --out",
            )
    if out is not None:
        _make_folder(out)


def write(answer: Any, form: str | None, out: Path) -> list[Path]:
    """Put it into files of a folder, each for its owner alone; raises UsageError("file_unusable")."""
    contents = dict(_certificate_files(answer["certificate"])) if answer["certificate"] else {}
    chosen = FORMS.get(form or "")
    if chosen is not None and suits(chosen, material := _material(answer, out)):
        contents[chosen.file] = chosen.lines(material).encode()
    elif answer["psk"] is not None:
        contents["psk.txt"] = _plain(answer).encode()
    try:
        for name, content in contents.items():
            _write_private(out / name, content)
    except OSError as error:
        # It cannot be had again: better on this terminal than lost.
        say(answer, form)
        raise UsageError(
            "file_unusable",
            f"cannot write into {out}: {error.strerror}",
            "what it was to hold stands above, and nowhere else",
        ) from error
    return [out / name for name in contents]


def say(answer: Any, form: str | None) -> None:
    """Tell it on the terminal."""
    chosen = FORMS.get(form or "")
    found = answer["certificate"]
    if chosen is not None and suits(chosen, material := _material(answer, Path())):
        sys.stdout.write(chosen.lines(material))
    else:
        # Some keys and names a form cannot carry: what was made must be told all the same.
        sys.stdout.write(_plain(answer))
        if found is not None:
            sys.stdout.write("\n" + found["certificate"] + found["private_key"] + found["ca"])
    if found is None or found["private_key"]:
        sys.stdout.flush()
        print("The key is shown only now: the box does not tell it again.", file=sys.stderr)


def uri_of(answer: Any) -> str:
    """The address to point the device at: the encrypted one where there is one."""
    uris = answer["uris"]
    return next((uri for uri in uris if uri.startswith("coaps:")), uris[0] if uris else "")


def _plain(answer: Any) -> str:
    fields = [("Name", answer["credential"]["endpoint"]), ("Server", uri_of(answer))]
    if answer["psk"] is not None:
        fields += [("Identity", answer["psk"]["identity"]), ("Key", answer["psk"]["key"])]
    width = max(len(name) for name, _ in fields)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in fields)


def _material(answer: Any, folder: Path) -> Material:
    """The daemon's answer, with its files in a folder."""
    psk, certificate = answer["psk"], answer["certificate"]
    return Material(
        uri_of(answer),
        answer["credential"]["endpoint"],
        None if psk is None else Psk(**psk),
        None if certificate is None else Pems(**certificate),
        folder,
        as_der=True,
    )


def _certificate_files(found: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """PEM and DER of each; of the roots the newest alone as DER, which holds one."""
    files: list[tuple[str, bytes]] = []
    parts = ((CERTIFICATE, found["certificate"]), (PRIVATE_KEY, found["private_key"]), (CA, found["ca"]))
    for name, pem in parts:
        if pem:
            files += [(f"{name}.pem", pem.encode()), (f"{name}.der", _der(pem))]
    return files


def _der(pem: str) -> bytes:
    """What the first block of a PEM text holds (RFC 7468)."""
    lines = pem.split("-----END", 1)[0].splitlines()[1:]
    return base64.b64decode("".join(lines))


def _make_folder(out: Path) -> None:
    """An empty folder for its owner alone: nothing of another device is overwritten."""
    try:
        out.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        full = any(out.iterdir())
        usable = os.access(out, os.W_OK | os.X_OK)
    except OSError as error:
        raise UsageError(
            "file_unusable", f"cannot make the folder {out}: {error.strerror}", "name another with --out"
        ) from error
    if full or not usable:
        why = "is not empty" if full else "cannot be written"
        raise UsageError("file_unusable", f"{out} {why}", "name a new folder with --out")


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
        file.write(content)
