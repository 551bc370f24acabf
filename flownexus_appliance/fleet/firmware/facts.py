"""What people say of a firmware package, and the bounds of it.

Texts are refused with a reason, never mended: a version must be what a device tells, to the letter.
"""

from dataclasses import dataclass, replace
from typing import Final
from unicodedata import category

from ...errors import UsageError, clean
from ..noted import tags_of

MAX_VERSION: Final = 64
MAX_FILE_NAME: Final = 100
MAX_NOTE: Final = 1000
MAX_MODEL: Final = 100
# Of a package that came without a name.
UNNAMED: Final = "firmware.bin"
_KEPT: Final = "\n\t"


@dataclass(frozen=True, slots=True)
class FirmwareFacts:
    """What people say of a package. An empty `version` is that of its MCUboot header.

    `model`, `tag` and `from_version` say which devices it is for, "" for any.
    """

    version: str = ""
    file_name: str = ""
    note: str = ""
    model: str = ""
    tag: str = ""
    from_version: str = ""


def check_facts(facts: FirmwareFacts) -> FirmwareFacts:
    """The facts as they are kept; an empty version stays for who has read the header.

    Raises UsageError: version_invalid, file_name_invalid, note_invalid, target_invalid.
    """
    if facts.version:
        _check_version(facts.version)
    return replace(
        facts,
        file_name=_file_name(facts.file_name or UNNAMED),
        note=_note(facts.note),
        model=_model(facts.model),
        tag=_tag(facts.tag),
        from_version=_from_version(facts.from_version),
    )


def _check_version(version: str) -> None:
    if not _is_version(version):
        raise UsageError(
            "version_invalid",
            f"not usable as a version: {clean(version, 40)}",
            f"give 1 to {MAX_VERSION} printable characters as the device tells them, no space at the ends",
        )


def _is_version(text: str) -> bool:
    return len(text) <= MAX_VERSION and text.isprintable() and text == text.strip()


def _file_name(name: str) -> str:
    """The last part of a path and nothing else: it is shown, and offered to who downloads the package."""
    if (
        len(name) > MAX_FILE_NAME
        or not name.isprintable()  # so there is no NUL in it, and nothing that turns the writing around
        or name != name.strip()
        or any(part in name for part in ("/", "\\", ".."))
        or name == "."
    ):
        raise UsageError(
            "file_name_invalid",
            f"not usable as the name of a file: {clean(name, 40)}",
            f"give a name of at most {MAX_FILE_NAME} characters, without folders and without '..'",
        )
    return name


def _note(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > MAX_NOTE or any(category(one) in ("Cc", "Cs") and one not in _KEPT for one in text):
        raise UsageError(
            "note_invalid",
            "the note is not usable",
            f"give at most {MAX_NOTE} characters, no control characters",
        )
    return text


def _model(text: str) -> str:
    if len(text) > MAX_MODEL or not text.isprintable():
        raise _target(f"not usable as a model: {clean(text, 40)}", "give what devices tell at /3/0/1")
    return text


def _tag(text: str) -> str:
    if not text:
        return ""
    try:
        return tags_of((text,))[0]
    except UsageError as error:
        raise _target(error.message, error.hint) from None


def _from_version(text: str) -> str:
    if not _is_version(text):
        raise _target(f"not usable as a version: {clean(text, 40)}", "give what devices tell at /3/0/3")
    return text


def _target(message: str, hint: str) -> UsageError:
    return UsageError("target_invalid", message, hint)
