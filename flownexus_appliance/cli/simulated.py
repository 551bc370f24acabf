"""Keys for the simulated devices of `flownexus run --simulate`: each has its own, as a real one would.

They lie in the state folder, so that the same devices come back after a restart of the daemon.
"""

import os
from pathlib import Path
from typing import Final

from .console import Console, below

FILE: Final = "simulated.psk"
PREFIX: Final = "sim"


def simulated_keys(state: Path, count: int) -> Path:
    """The file for `flownexus sim --psk-file`, with a good key for each of `count` devices.

    Asks the daemon on `state`, so not from its own event loop. Raises ApplianceError.
    """
    console = Console(state)
    file = state / FILE
    kept = _read(file)
    for number in range(1, count + 1):
        name = f"{PREFIX}-{number:04d}"
        credentials = console.items(below("endpoints", name, "/credentials"), good="true")
        identities = {entry["identity"] for entry in credentials if entry["kind"] == "psk"}
        if name not in kept or kept[name][0] not in identities:
            given = console.post(below("endpoints", name, "/credentials"), {"kind": "psk"})
            kept[name] = given["psk"]["identity"], given["psk"]["key"]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as lines:
        lines.writelines(f"{name} {identity} {key}\n" for name, (identity, key) in kept.items())
    return file


def _read(file: Path) -> dict[str, tuple[str, str]]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines)
    return {words[0]: (words[1], words[2]) for words in parts if len(words) == 3}
