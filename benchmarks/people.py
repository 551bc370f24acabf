"""An admin for the daemon that is measured, and what a program says to be let in as one."""

from pathlib import Path
from typing import Final

from flownexus_appliance.cli.console import Console

NAME: Final = "bench"
PASSWORD: Final = "not a secret of anybody"


def bearer(state: Path) -> dict[str, str]:
    """Headers of a request to the daemon on `state`, which must not have an admin of this name yet."""
    console = Console(state)
    console.post("/users", {"name": NAME, "role": "admin", "password": PASSWORD})
    made = console.post("/tokens", {"user": NAME, "name": "bench", "role": "admin"})
    return {"Authorization": f"Bearer {made['secret']}"}
