"""Firmware packages for tests: bytes that do not repeat, put on the box, given to a device."""

import hashlib
import urllib.parse
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .daemon import Daemon

OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Package:
    """A package on the box."""

    id: int
    version: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def add(daemon: Daemon, content: bytes, version: str, **facts: str) -> int:
    """Put a package on the box; its id. `facts` as the API names them."""
    query = urllib.parse.urlencode({"version": version, "file_name": f"app-{version}.bin", **facts})
    reply = daemon.request("POST", f"/api/v1/firmware?{query}", content, OCTETS)
    assert reply.status == 201, reply
    sha256 = hashlib.sha256(content).hexdigest()
    assert (reply.json["size"], reply.json["sha256"]) == (len(content), sha256)
    return int(reply.json["id"])


def upload(daemon: Daemon, size: int, version: str, **facts: str) -> Package:
    """Put a package of so many bytes on the box."""
    content = Random(f"{version} {size}").randbytes(size)
    return Package(add(daemon, content, version, **facts), version, content)


def give(daemon: Daemon, endpoint: str, package: Package, delivery: str) -> int:
    """Ask for an update of a device; its id."""
    name = urllib.parse.quote(endpoint, safe="")
    asked = daemon.api(f"/endpoints/{name}/updates", {"firmware": package.id, "delivery": delivery})
    return int(asked["id"])


def update(daemon: Daemon, update_id: int) -> Any:
    """How an update stands."""
    return daemon.api(f"/updates/{update_id}")


def packages_kept(daemon: Daemon) -> set[str]:
    """The names of the files in the folder of packages: hashes, and whatever is on its way in."""
    return {entry.name for entry in (daemon.state / "firmware").iterdir()}
