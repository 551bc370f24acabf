"""Firmware packages as the pages show them: what is in one, what is odd about it, which devices it is for."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..db.firmware import Firmware
from ..db.firmware_reads import RunningRow
from ..db.noted import TagCount
from ..lwm2m.firmware import OBJECTS, same_version
from ..lwm2m.paths import Path
from ..lwm2m.registration import Registration
from .devices import collated
from .language import N_, gettext
from .ports import Parts
from .views import Reading
from .views_firmware import DeviceLine, plain_text
from .views_updates import UpdateView, instance_text

# The doubts that `FirmwareBox.doubts` names.
_DOUBTS: Final = {
    "version_mismatch": N_(
        "The file says of itself that it is version %(image)s. Check which is right: an update counts as done"
        " when the device tells either of them."
    ),
    "unsigned": N_("It is not signed. A device that checks signatures will refuse it."),
    "archive": N_("It is an archive. Devices do not take it apart: give them the image that is in it."),
    "not_binary": N_(
        "It is a file for a programmer (HEX, ELF or UF2). Devices take the binary image (.bin)."
    ),
    "file_missing": N_("Its file is gone from the box. Remove the package, and upload it again."),
    "no_image": N_(
        "It has no MCUboot header, so nothing in it could be checked. That is usual for other boot loaders."
    ),
}
# Those that are no reason to worry.
MILD: Final = frozenset({"no_image"})


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something odd about a package, as a sentence; `mild` where it need not worry anybody."""

    code: str
    text: str
    mild: bool


@dataclass(frozen=True, slots=True)
class PackageView:
    """A package in words. `running` devices tell its version, `updated` were brought to it by this box."""

    kept: Firmware
    doubts: tuple[Doubt, ...]
    running: int = 0
    updated: int = 0

    @property
    def url(self) -> str:
        return f"/firmware/packages/{self.kept.id}"

    @property
    def download_url(self) -> str:
        return f"/api/v1/firmware/{self.kept.id}/package"

    @property
    def sha256(self) -> str:
        return self.kept.sha256.hex()

    @property
    def targets(self) -> tuple[str, ...]:
        """Which devices it is for, in words; none for all."""
        kept = self.kept
        asked = (
            (kept.model, gettext("Model %(model)s") % {"model": kept.model}),
            (kept.tag, gettext("Tag %(tag)s") % {"tag": kept.tag}),
            (kept.from_version, gettext("From version %(version)s") % {"version": kept.from_version}),
        )
        return tuple(words for value, words in asked if value)


@dataclass(frozen=True, slots=True)
class Known:
    """What devices have told and people have noted, to choose from: models (3/0/1), tags, versions."""

    models: tuple[str, ...]
    tags: tuple[str, ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """A package that a device may be given; `runs_it`: it tells that version already."""

    kept: Firmware
    runs_it: bool


@dataclass(frozen=True, slots=True)
class DeviceFirmware:
    """A device's firmware on its own page: `facts` are its values, which the browser keeps current.

    `running` is the update that is under way, `last` the newest one. `fitting` and `others` are the packages
    to choose from; `instances` the parts that can be updated, where there are several.
    """

    line: DeviceLine
    facts: tuple[tuple[str, Reading], ...]
    seen: bool
    running: UpdateView | None
    last: UpdateView | None
    fitting: tuple[Offer, ...]
    others: tuple[Offer, ...]
    instances: tuple[tuple[str, str], ...]

    @property
    def takes(self) -> bool:
        """Whether it can be given a package now, or when it comes."""
        return self.seen and not self.line.no_object and self.running is None


def package_view(parts: Parts, kept: Firmware, running: int = 0, updated: int = 0) -> PackageView:
    """A package in words."""
    doubts = []
    for code in parts.firmware.doubts(kept):
        text = gettext(_DOUBTS[code]) if code in _DOUBTS else code
        image = kept.image.version if kept.image is not None else ""
        doubts.append(Doubt(code, text % {"image": image} if image else text, code in MILD))
    return PackageView(kept, tuple(doubts), running, updated)


def running_of(rows: Iterable[RunningRow], kept: Firmware) -> int:
    """How many devices tell that they run a package: of its model, where it is for one."""
    return sum(
        1
        for row in rows
        if (not kept.model or plain_text(row.model) == kept.model)
        and same_version(plain_text(row.version), kept.versions)
    )


def known(rows: Sequence[RunningRow], tags: Iterable[TagCount], firmware: Iterable[Firmware]) -> Known:
    """What there is to choose from, by name; what packages are for already is known too."""
    kept = list(firmware)
    models = {plain_text(row.model) for row in rows} | {one.model for one in kept}
    versions = {plain_text(row.version) for row in rows} | {one.from_version for one in kept}
    named = {tag.tag for tag in tags} | {one.tag for one in kept}
    return Known(_sorted(models), _sorted(named), _sorted(versions))


def offers(
    firmware: Iterable[Firmware], model: str, tags: Collection[str], version: str
) -> tuple[tuple[Offer, ...], tuple[Offer, ...]]:
    """The packages that are for a device, and those that are for others; each the newest first."""
    fitting: list[Offer] = []
    others: list[Offer] = []
    folded = {tag.casefold() for tag in tags}
    for kept in firmware:
        fits = (
            kept.model in ("", model)
            and (not kept.tag or kept.tag.casefold() in folded)
            and (not kept.from_version or same_version(version, (kept.from_version,)))
        )
        (fitting if fits else others).append(Offer(kept, same_version(version, kept.versions)))
    return tuple(fitting), tuple(others)


def instances(registration: Registration | None) -> tuple[tuple[str, str], ...]:
    """The parts of a device to choose from, by path; none where it has a single one."""
    if registration is None:
        return ()
    paths = [
        Path.of(object_id, number)
        for object_id in sorted(OBJECTS)
        if object_id in registration.objects
        for number in registration.objects[object_id].instances
    ]
    if len(paths) < 2:
        return ()
    named = ((str(path), instance_text(path) or str(path)) for path in paths)
    return (("", gettext("The usual one")), *named)


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted((text for text in texts if text), key=collated))
