"""Paths to objects, instances, resources and resource instances.

LwM2M Core 1.1.1 section 7.1 (identifiers) and 6.2 (paths in operations). A path has zero to four
numbers; the empty path is the root. 65535 is reserved as an instance id ("MAX_ID") and refused.
"""

from functools import lru_cache
from typing import ClassVar, Final, Self

from ..errors import ApplianceError, PeerError, clean

MAX_ID: Final = 65534
MAX_DEPTH: Final = 4
MAX_LENGTH: Final = MAX_DEPTH * 6 + 1  # "/65534/65534/65534/65534/"


class Path(tuple[int, ...]):
    """An immutable path: `Path.parse("/3/0/9") == Path((3, 0, 9))`.

    It is a tuple, so it hashes and orders as its numbers do.
    """

    __slots__ = ()
    ROOT: ClassVar["Path"]

    @classmethod
    def of(cls, *ids: int) -> Self:
        """Build a path from numbers; raises PeerError("path_invalid") out of range or too deep."""
        if len(ids) > MAX_DEPTH or any(not 0 <= i <= MAX_ID for i in ids):
            # str() of an int of thousands of digits is an error of its own.
            shown = (str(i) if abs(i) < 10**9 else "…" for i in ids[: MAX_DEPTH + 1])
            raise _invalid("/" + "/".join(shown), PeerError)
        return cls(ids)

    @classmethod
    def parse(cls, text: str, error: type[ApplianceError] = PeerError) -> "Path":
        """Read `/3/0/9` (the first slash may be missing, one at the end is ignored).

        Raises `error` with code `path_invalid` for anything but at most four decimal numbers
        from 0 to 65534.
        """
        # The cache must not keep texts of any length that a peer thinks up.
        path = _parse(text) if len(text) <= MAX_LENGTH else None
        if path is None:
            raise _invalid(text, error)
        return path

    def __str__(self) -> str:
        return "/" + "/".join(map(str, self))

    def __repr__(self) -> str:
        return f"Path({str(self)!r})"

    def child(self, number: int) -> "Path":
        """The path one level deeper; raises PeerError when that is too deep or out of range."""
        return Path.of(*self, number)

    def covers(self, other: "Path") -> bool:
        """Whether `other` is this path or lies below it."""
        return other[: len(self)] == tuple(self)

    @property
    def parent(self) -> "Path":
        return Path(self[:-1])

    @property
    def resource(self) -> "Path":
        """The path cut to three levels: the resource that a resource instance belongs to."""
        return Path(self[:3])


def _invalid(text: str, error: type[ApplianceError]) -> ApplianceError:
    return error(
        "path_invalid",
        f"not a LwM2M path: {clean(text)}",
        "write it as /object/instance/resource with numbers from 0 to 65534, such as /3303/0/5700",
    )


@lru_cache(maxsize=8192)
def _parse(text: str) -> Path | None:
    trimmed = text.strip("/") if text not in ("", "/") else ""
    if not trimmed:
        return Path() if text in ("", "/") else None
    if "//" in text:
        return None
    parts = trimmed.split("/")
    if len(parts) > MAX_DEPTH:
        return None
    if not all(p.isascii() and p.isdigit() and (p == "0" or p[0] != "0") for p in parts):
        return None
    ids = tuple(map(int, parts))
    return Path(ids) if max(ids) <= MAX_ID else None


Path.ROOT = Path()
