"""The folder of the box's keys and certificates: which files there are, reading them, changing them safely.

`index.json` says which files count: it holds names, numbers and dates, and no secret. A change writes new
files beside the old ones, then moves the index by one rename, then removes what the index names no more. So
a power cut leaves the state of before or of after, and files that nobody looks at. The index is there before
the first key: without it, keys in the folder mean that it was lost, and no new root is made over them.

Keys are PEM (PKCS#8), readable by their owner alone, and not encrypted: the box must start by itself.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography import x509

from . import files
from .encoding import chain_pem, key_pem, load_key_pem
from .errors import PkiError, damaged, foreign, unreadable, unwritable
from .leafs import Leaf, LeafKind, LeafOrder, find_fault
from .names import ServerNames, is_dns_name
from .profile import UNREADABLE, is_p256, signed_by
from .roots import Root, Roots

INDEX: Final = "index.json"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 64 * 1024
_OURS: Final = re.compile(r"(root|dtls|https)-\d{1,9}(-cross\.crt|\.crt|\.key)")
_UNFINISHED: Final = re.compile(r"\.(index\.json|(root|dtls|https)-.*)\.\d+\.new")

T = TypeVar("T")
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Number = Annotated[int, msgspec.Meta(ge=1, lt=10**9)]


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that the box holds at a moment: roots newest first, the server's certificates by kind.

    `order` is what the certificates were last asked to be.
    """

    roots: Roots = ()
    leafs: tuple[Leaf, ...] = ()
    order: LeafOrder | None = None

    def leaf(self, kind: LeafKind) -> Leaf | None:
        return next((leaf for leaf in self.leafs if leaf.kind is kind), None)


class _RootEntry(msgspec.Struct, frozen=True):
    number: _Number
    cross: bool
    trusted_until: _Moment | None


class _LeafEntry(msgspec.Struct, frozen=True):
    kind: LeafKind
    number: _Number
    issued: _Moment


class _OrderEntry(msgspec.Struct, frozen=True):
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    validity_s: int


class _Index(msgspec.Struct, frozen=True):
    version: int
    roots: tuple[_RootEntry, ...] = ()
    leafs: tuple[_LeafEntry, ...] = ()
    order: _OrderEntry | None = None


class Keystore:
    """Reads and changes the folder; one daemon at a time, which holds the lock of the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def leaf_paths(self, leaf: Leaf) -> tuple[Path, Path]:
        """The PEM files of a leaf: its chain and its key."""
        stem = f"{leaf.kind}-{leaf.number}"
        return self.path(f"{stem}.crt"), self.path(f"{stem}.key")

    def read(self) -> Holdings:
        """What the folder holds; changes nothing. Raises PkiError.

        A root that cannot be used is an error. A leaf that cannot is held with its fault, to be made anew.
        """
        index = self._read_index()
        if index is None:
            return Holdings()
        roots = self._read_roots(index.roots)
        leafs = tuple(self._read_leaf(entry) for entry in index.leafs)
        return Holdings(roots, leafs, _order(index.order, self.path(INDEX)))

    def write(self, before: Holdings, after: Holdings) -> None:
        """Go from one state to another, whole or not at all; raises PkiError("pki_unwritable")."""
        known = self._names(before)
        try:
            files.make_folder(self.folder)
            if not self.path(INDEX).exists():
                self._write_index(Holdings())
            for name, (content, mode) in self._contents(after).items():
                if name not in known:
                    files.write_whole(self.path(name), content, mode)
            self._write_index(after)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def sweep(self, held: Holdings) -> None:
        """Remove files of ours that no longer count: old keys, and what a power cut left unfinished."""
        kept = self._names(held)
        try:
            found = [path for path in self.folder.iterdir() if path.name not in kept]
        except OSError:  # tried again at the next time
            return
        files.remove(p for p in found if _OURS.fullmatch(p.name) or _UNFINISHED.fullmatch(p.name))

    def make_private(self) -> tuple[str, ...]:
        """Close keys that others may read, as a careless copy leaves them; their names. Raises PkiError."""
        try:
            loose = [path for path in sorted(self.folder.glob("*-*.key")) if not files.is_private(path)]
            for path in loose:
                files.make_private(path)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return tuple(path.name for path in loose)

    # Reading

    def _read_index(self) -> _Index | None:
        path = self.path(INDEX)
        content = self._bytes(path)
        if content is None:
            if any(_OURS.fullmatch(name) for name in self._listing()):
                raise damaged(path, "is missing beside the keys it tells of")
            return None
        try:
            index = msgspec.json.decode(content, type=_Index)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise damaged(path, f"is not whole: {error}") from None
        if index.version != VERSION:
            raise foreign(path, f"has version {index.version}, this software knows {VERSION}")
        return index

    def _listing(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self.folder, error) from error

    def _read_roots(self, entries: tuple[_RootEntry, ...]) -> Roots:
        roots: list[Root] = []
        for entry in entries:
            path = self.path(f"root-{entry.number}.crt")
            certificate = self._must(path, _load_one)
            if not _is_root(certificate):
                raise foreign(path, "is no root certificate of this software")
            cross = None
            if entry.cross:
                cross = self._must(self.path(f"root-{entry.number}-cross.crt"), _load_one)
            key = None
            if not roots:
                key = self._must(self.path(f"root-{entry.number}.key"), load_key_pem)
            roots.append(Root(entry.number, certificate, cross, entry.trusted_until, key))
        self._check_roots(tuple(roots))
        return tuple(roots)

    def _check_roots(self, roots: Roots) -> None:
        """The key belongs to the newest root, and each cross certificate joins its root to the one before."""
        if roots and roots[0].key and roots[0].key.public_key() != roots[0].certificate.public_key():
            raise damaged(self.path(f"root-{roots[0].number}.key"), "does not belong to its certificate")
        for place, root in enumerate(roots):
            older = roots[place + 1] if place + 1 < len(roots) else None
            path = self.path(f"root-{root.number}-cross.crt")
            if root.cross is None and older is None:
                continue
            if root.cross is None or older is None:
                raise damaged(self.path(INDEX), f"and {path.name} do not fit together")
            joins = (
                root.cross.subject == root.certificate.subject
                and root.cross.public_key() == root.certificate.public_key()
                and signed_by(root.cross, older.certificate)
            )
            if not joins:
                raise damaged(path, "does not join its root to the one before")

    def _read_leaf(self, entry: _LeafEntry) -> Leaf:
        empty = Leaf(entry.kind, entry.number, entry.issued)
        chain_path, key_path = self.leaf_paths(empty)
        try:
            chain = self._must(chain_path, _load_chain)
            key = self._must(key_path, load_key_pem)
        except PkiError as error:
            if error.code != "pki_damaged":
                raise
            return Leaf(entry.kind, entry.number, entry.issued, fault=error.message)
        if fault := find_fault(chain, key):
            return Leaf(entry.kind, entry.number, entry.issued, fault=fault)
        return Leaf(entry.kind, entry.number, entry.issued, chain, key)

    def _must(self, path: Path, load: Callable[[bytes], T]) -> T:
        """The content of a file that must be there; raises PkiError."""
        content = self._bytes(path)
        if content is None:
            raise damaged(path, "is missing")
        try:
            return load(content)
        except UNREADABLE:  # not told on: the words of a parser may quote what it read
            raise damaged(path, "is damaged: it cannot be read as what its name says") from None

    def _bytes(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error) from error

    # Writing

    def _write_index(self, held: Holdings) -> None:
        index = _Index(
            VERSION,
            tuple(_RootEntry(root.number, root.cross is not None, root.trusted_until) for root in held.roots),
            tuple(_LeafEntry(leaf.kind, leaf.number, leaf.issued) for leaf in held.leafs),
            _order_entry(held.order),
        )
        content = msgspec.json.format(msgspec.json.encode(index), indent=2)
        files.write_whole(self.path(INDEX), content + b"\n", files.PUBLIC)

    def _names(self, held: Holdings) -> set[str]:
        return set(self._contents(held))

    def _contents(self, held: Holdings) -> dict[str, tuple[bytes, int]]:
        """Every file of a state beside the index, by name; those of a leaf with a fault do not count."""
        return {name: (content, mode) for name, content, mode in _files_of(held)}


def _files_of(held: Holdings) -> Iterator[tuple[str, bytes, int]]:
    for root in held.roots:
        stem = f"root-{root.number}"
        if root.key is not None:
            yield f"{stem}.key", key_pem(root.key), files.PRIVATE
        if root.cross is not None:
            yield f"{stem}-cross.crt", chain_pem((root.cross,)), files.PUBLIC
        yield f"{stem}.crt", chain_pem((root.certificate,)), files.PUBLIC
    for leaf in held.leafs:
        if leaf.key is not None:
            yield f"{leaf.kind}-{leaf.number}.key", key_pem(leaf.key), files.PRIVATE
            yield f"{leaf.kind}-{leaf.number}.crt", chain_pem(leaf.chain), files.PUBLIC


def _order_entry(order: LeafOrder | None) -> _OrderEntry | None:
    if order is None:
        return None
    addresses = tuple(str(address) for address in order.names.addresses)
    return _OrderEntry(order.names.dns, addresses, order.validity // timedelta(seconds=1))


def _order(entry: _OrderEntry | None, path: Path) -> LeafOrder | None:
    if entry is None:
        return None
    try:
        addresses = tuple(ipaddress.ip_address(address) for address in entry.addresses)
        validity = timedelta(seconds=entry.validity_s)
    except (ValueError, OverflowError) as error:
        raise damaged(path, f"is not whole: {error}") from None
    if not all(is_dns_name(name) for name in entry.dns):
        raise damaged(path, "is not whole: it has a name that is no DNS name")
    return LeafOrder(ServerNames(entry.dns, addresses), validity)


def _load_one(pem: bytes) -> x509.Certificate:
    (certificate,) = _load_chain(pem)  # ValueError where there are more
    return certificate


def _load_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    chain = tuple(x509.load_pem_x509_certificates(pem))
    for certificate in chain:  # its parts are read when they are asked for, and may be damaged by themselves
        _ = certificate.subject, certificate.issuer, certificate.public_key(), certificate.extensions
    return chain


def _is_root(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and is_p256(certificate.public_key()) and signed_by(certificate, certificate)
