"""What a new device is to hold, in the form that its client takes, on the terminal or in a folder.

The daemon tells a key once, so everything that can be wrong about where it goes is checked before it is
asked for. A form is a function of `FORMS`: the boards of later versions are added there.
"""

import base64
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError

PRIVATE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
CERTIFICATE: Final = "certificate"
PRIVATE_KEY: Final = "private-key"
CA: Final = "ca"
MIN_KCONFIG_KEY_SIZE: Final = 32  # what Zephyr's sample has


@dataclass(frozen=True, slots=True)
class Form:
    """How a client is told: `text` makes it of the daemon's answer and the folder of the files.

    `psk`, `certificate`: what it can hold; `files`: a certificate it reads from files. `name` is of the
    file the text goes to.
    """

    name: str
    text: Callable[[Any, Path], str]
    psk: bool = True
    certificate: bool = True
    files: bool = True


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
    if chosen is not None:
        contents[chosen.name] = chosen.text(answer, out).encode()
    elif answer["psk"] is not None:
        contents["psk.txt"] = _plain(answer, out).encode()
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
    if chosen is not None:
        sys.stdout.write(chosen.text(answer, Path()))
    else:
        sys.stdout.write(_plain(answer, Path()))
        if found is not None:
            sys.stdout.write("\n" + found["certificate"] + found["private_key"] + found["ca"])
    if found is None or found["private_key"]:
        sys.stdout.flush()
        print("The key is shown only now: the box does not tell it again.", file=sys.stderr)


def uri_of(answer: Any) -> str:
    """The address to point the device at: the encrypted one where there is one."""
    uris = answer["uris"]
    return next((uri for uri in uris if uri.startswith("coaps:")), uris[0] if uris else "")


def _plain(answer: Any, _: Path) -> str:
    fields = [("Name", answer["credential"]["endpoint"]), ("Server", uri_of(answer))]
    if answer["psk"] is not None:
        fields += [("Identity", answer["psk"]["identity"]), ("Key", answer["psk"]["key"])]
    width = max(len(name) for name, _ in fields)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in fields)


def _env(answer: Any, folder: Path) -> str:
    """For `. device.env` in a shell."""
    values = {"ENDPOINT": answer["credential"]["endpoint"], "URI": uri_of(answer)}
    if answer["psk"] is not None:
        values |= {
            "PSK_IDENTITY": answer["psk"]["identity"],
            "PSK_IDENTITY_HEX": answer["psk"]["identity_hex"],
            "PSK_KEY": answer["psk"]["key"],
        }
    else:
        values |= {"CERTIFICATE": str(folder.resolve() / f"{CERTIFICATE}.pem")}
        values |= {"CA": str(folder.resolve() / f"{CA}.pem")}
        if answer["certificate"]["private_key"]:
            values |= {"PRIVATE_KEY": str(folder.resolve() / f"{PRIVATE_KEY}.pem")}
    return "".join(f"FLOWNEXUS_{name}={shlex.quote(value)}\n" for name, value in values.items())


def _anjay(answer: Any, _: Path) -> str:
    """Arguments of Anjay's demo client, which takes the identity's bytes as hexadecimal."""
    psk = answer["psk"]
    arguments = ["--endpoint-name", answer["credential"]["endpoint"], "--server-uri", uri_of(answer)]
    arguments += ["--security-mode", "psk", "--identity", psk["identity_hex"], "--key", psk["key"]]
    return _command("demo", arguments)


def _leshan(answer: Any, folder: Path) -> str:
    """Arguments of Leshan's demo client; the newest root is the anchor of its trust (RFC 6698 usage 2)."""
    server = uri_of(answer).partition("://")[2]
    arguments = ["-n", answer["credential"]["endpoint"], "-cid", "on"]
    if answer["psk"] is not None:
        arguments += ["-u", f"coaps://{server}", "-i", answer["psk"]["identity"], "-p", answer["psk"]["key"]]
    else:
        arguments += ["-u", f"coaps://{server}", "-ccert", str(folder / f"{CERTIFICATE}.der")]
        arguments += ["-cprik", _key_file(answer, folder, "der"), "-scert", str(folder / f"{CA}.der")]
        arguments += ["-cu", "2"]
    return _command("java -jar leshan-demo-client.jar", arguments)


def _openssl(answer: Any, folder: Path) -> str:
    """Tries the handshake by hand: it speaks DTLS, and no LwM2M."""
    server = uri_of(answer).partition("://")[2]
    arguments = ["-dtls1_2", "-connect", server]
    if answer["psk"] is not None:
        # A suite without certificates, which openssl would not offer by itself.
        arguments += ["-cipher", "PSK-AES128-GCM-SHA256", "-psk_identity", answer["psk"]["identity"]]
        arguments += ["-psk", answer["psk"]["key"]]
    else:
        arguments += ["-cert", str(folder / f"{CERTIFICATE}.pem"), "-key", _key_file(answer, folder, "pem")]
        arguments += ["-CAfile", str(folder / f"{CA}.pem"), "-verify_return_error"]
    return _command("openssl s_client", arguments)


def _zephyr_kconfig(answer: Any, _: Path) -> str:
    """A fragment for Zephyr's sample lwm2m_client, beside its overlay-dtls.conf."""
    psk, endpoint = answer["psk"], answer["credential"]["endpoint"]
    size = max(MIN_KCONFIG_KEY_SIZE, len(psk["identity_hex"]) // 2, len(psk["key"]) // 2)
    lines = ["# Holds a key: keep it out of version control."]
    if psk["identity"] != endpoint:
        lines.append(f"# The sample takes the name for the identity too, but here it is {psk['identity']}.")
    lines += [
        f"CONFIG_NET_SAMPLE_LWM2M_SERVER={_kconfig(uri_of(answer))}",
        f"CONFIG_NET_SAMPLE_LWM2M_ID={_kconfig(endpoint)}",
        f"CONFIG_NET_SAMPLE_LWM2M_PSK={_kconfig(psk['key'])}",
        f"CONFIG_LWM2M_SECURITY_KEY_SIZE={size}",
        "# Before Zephyr 4.4: CONFIG_LWM2M_APP_SERVER, CONFIG_LWM2M_APP_ID and CONFIG_LWM2M_APP_PSK.",
    ]
    return "\n".join(lines) + "\n"


FORMS: Final[Mapping[str, Form]] = {
    "env": Form("device.env", _env),
    "anjay": Form("anjay.sh", _anjay, certificate=False),
    "leshan": Form("leshan.sh", _leshan),
    "zephyr-kconfig": Form("lwm2m.conf", _zephyr_kconfig, certificate=False),
    "openssl": Form("openssl.sh", _openssl),
}


def _key_file(answer: Any, folder: Path, ending: str) -> str:
    """The file of the device's key, which is not ours to name where the device made it."""
    if not answer["certificate"]["private_key"]:
        return f"KEY-OF-THE-REQUEST.{ending}"
    return str(folder / f"{PRIVATE_KEY}.{ending}")


def _command(program: str, arguments: list[str]) -> str:
    return f"{program} {shlex.join(arguments)}\n"


def _kconfig(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


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
