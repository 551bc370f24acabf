"""What must be done with the box's certificates at a moment: from what it holds to what it is to hold.

Works on values alone: `authority` reads them, keeps the outcome and tells the changes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..errors import UsageError
from .describe import CertificateKind
from .errors import PkiError
from .keystore import Holdings
from .leafs import VALIDITY, Leaf, LeafKind, LeafOrder, make_leaf, why_due
from .names import ServerNames
from .roots import (
    MAX_TRUSTED,
    OVERLAP,
    ROLL_OVER_BEFORE_END,
    Root,
    Roots,
    first_root,
    next_roots,
    still_trusted,
    without_needless_cross,
)

LEAF_NAMES: Final = {
    LeafKind.DTLS: "certificate for devices (DTLS)",
    LeafKind.HTTPS: "certificate for browsers (HTTPS)",
}
_BY_OPERATOR: Final = "the operator asked for it"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done. `message` is a sentence for people: what, why, until when."""

    kind: CertificateKind
    message: str


Step = tuple[Holdings, tuple[Change, ...]]


def keep(held: Holdings, order: LeafOrder, now: datetime) -> Step:
    """What is missing is made, what is due is replaced, roots whose overlap ended are dropped."""
    roots, root_changes = _keep_roots(held.roots, now)
    kept: list[Leaf] = []
    changes = list(root_changes)
    for kind in LeafKind:
        leaf = held.leaf(kind)
        because = why_due(leaf, order, held.order, roots, now)
        if leaf is None or because:
            leaf = make_leaf(kind, _next_number(held, kind), order, roots, now)
            changes.append(_leaf_made(leaf, because))
        kept.append(leaf)
    return Holdings(roots, tuple(kept), order), tuple(changes)


def rotate(held: Holdings, names: ServerNames, now: datetime) -> Step:
    """Both server certificates anew; raises PkiError("pki_empty")."""
    order = LeafOrder(names, held.order.validity if held.order else VALIDITY)
    return _reissue(held, some(held.roots), order, now, _BY_OPERATOR)


def roll_over(held: Holdings, now: datetime, overlap: timedelta) -> Step:
    """A next root; raises PkiError("pki_empty"), UsageError: `overlap_invalid`, `roll_over_limit`."""
    roots, dropped = _drop_ended(some(held.roots), now)
    roots, rolled = _roll(roots, now, overlap, _BY_OPERATOR)
    after, made = _reissue(held, roots, _order_of(held), now, "there is a newer root")
    return after, (*dropped, *rolled, *made)


def finish_roll_over(held: Holdings, now: datetime) -> Step:
    """The newest root alone; raises UsageError("roll_over_none")."""
    if len(held.roots) < 2:
        raise UsageError(
            "roll_over_none", "no roll-over is under way", "all is well: only one root is trusted"
        )
    roots = without_needless_cross(held.roots[:1])
    dropped = tuple(_dropped(root, "the operator ended the overlap") for root in held.roots[1:])
    because = "the roots that devices may know have changed"
    after, made = _reissue(held, roots, _order_of(held), now, because)
    return after, (*dropped, *made)


def some(roots: Roots) -> Roots:
    """The roots, of which there must be one; raises PkiError("pki_empty")."""
    if not roots:
        raise empty("the box has no root yet")
    return roots


def empty(message: str) -> PkiError:
    return PkiError(
        "pki_empty", message, "they are made at the start, or as soon as the clock is right: check the clock"
    )


def key_closed(name: str) -> Change:
    """A key file that others could read, and now cannot."""
    kind = CertificateKind(name.partition("-")[0])
    return Change(kind, f"The key {name} could be read by others on this machine, and was closed to them.")


def _keep_roots(held: Roots, now: datetime) -> tuple[Roots, tuple[Change, ...]]:
    """The roots as they ought to be now: a first one, none whose overlap ended, a next one in time."""
    if not held:
        first = first_root(1, now)
        return (first,), (_root_made(first, "the box had none yet"),)
    roots, dropped = _drop_ended(held, now)
    if now < roots[0].ends - ROLL_OVER_BEFORE_END:
        return roots, dropped
    if now < roots[0].ends and len(roots) >= MAX_TRUSTED:
        return roots, dropped  # its turn comes when the oldest has ended
    roots, rolled = _roll(roots, now, OVERLAP, "the end of the one before came near")
    return roots, (*dropped, *rolled)


def _drop_ended(held: Roots, now: datetime) -> tuple[Roots, tuple[Change, ...]]:
    kept = still_trusted(held, now)
    because = "its overlap with the next root has ended"
    return kept, tuple(_dropped(root, because) for root in held[len(kept) :])


def _roll(held: Roots, now: datetime, overlap: timedelta, because: str) -> tuple[Roots, tuple[Change, ...]]:
    rolled = next_roots(held, now, overlap)
    changes = [_root_made(rolled[0], because)]
    if len(rolled) == 1:
        changes += [_dropped(root, "it had ended before a next one was made") for root in held]
    else:
        message = f"{rolled[1].name} signs nothing any more, and is trusted until {_day(rolled[1].ends)}."
        changes.append(Change(CertificateKind.ROOT, message))
    return rolled, tuple(changes)


def _reissue(held: Holdings, roots: Roots, order: LeafOrder, now: datetime, because: str) -> Step:
    """Both server certificates made anew under these roots."""
    made = tuple(make_leaf(kind, _next_number(held, kind), order, roots, now) for kind in LeafKind)
    return Holdings(roots, made, order), tuple(_leaf_made(leaf, because) for leaf in made)


def _next_number(held: Holdings, kind: LeafKind) -> int:
    leaf = held.leaf(kind)
    return 1 if leaf is None else leaf.number + 1


def _order_of(held: Holdings) -> LeafOrder:
    if held.order is None:
        raise empty("the box has no server certificates yet")
    return held.order


def _root_made(root: Root, because: str) -> Change:
    return Change(
        CertificateKind.ROOT,
        f"The new root {root.name} was made, because {because}; it is valid until {_day(root.ends)}.",
    )


def _dropped(root: Root, because: str) -> Change:
    return Change(CertificateKind.ROOT, f"{root.name} is trusted no more, because {because}.")


def _leaf_made(leaf: Leaf, because: str) -> Change:
    end = _day(leaf.chain[0].not_valid_after_utc)
    return Change(
        CertificateKind(leaf.kind.value),
        f"The {LEAF_NAMES[leaf.kind]} was made anew, because {because}; it is valid until {end}.",
    )


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
