"""What people may note about a device: bounds of its label, notes and tags.

Texts are in Unicode's NFC, so that what looks alike is alike.
"""

from collections.abc import Sequence
from typing import Final
from unicodedata import category, normalize

from ..db.noted import same_tag
from ..errors import UsageError, clean

MAX_LABEL: Final = 100
MAX_NOTES: Final = 4000
MAX_TAG: Final = 32
MAX_TAGS: Final = 16
# Forms write tags in one line.
TAG_SEPARATOR: Final = ","
# A part of many emoji, and no control character, although Unicode does not call it printable.
_JOINER: Final = "\u200d"
_KEPT: Final = "\n\t"


def label_of(text: str) -> str:
    """A label as it is kept; "" takes it away. Raises UsageError("label_invalid")."""
    if len(text) > MAX_LABEL or not _printable(text):
        raise UsageError(
            "label_invalid",
            "the label is not usable",
            f"give at most {MAX_LABEL} printable characters, in one line",
        )
    return text


def notes_of(text: str) -> str:
    """Notes as they are kept, lines ended by a line feed. Raises UsageError("notes_invalid")."""
    text = normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    if len(text) > MAX_NOTES:
        raise UsageError(
            "notes_invalid",
            f"the notes have {len(text)} characters",
            f"give at most {MAX_NOTES}",
        )
    if any(category(one) in ("Cc", "Cs") and one not in _KEPT for one in text):
        raise UsageError("notes_invalid", "the notes are not usable", "leave control characters out")
    return text


def tags_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Tags as they are kept: trimmed, each once. Raises UsageError: tag_invalid, tag_limit."""
    found: dict[str, str] = {}
    for text in texts:
        tag = normalize("NFC", text.strip())
        if not 1 <= len(tag) <= MAX_TAG or not _printable(tag) or TAG_SEPARATOR in tag:
            raise UsageError(
                "tag_invalid",
                f"not usable as a tag: {clean(text, 40)}" if text.strip() else "a tag is empty",
                f"give 1 to {MAX_TAG} printable characters without a comma",
            )
        found.setdefault(same_tag(tag), tag)
        if len(found) > MAX_TAGS:
            raise UsageError(
                "tag_limit", f"there are more than {MAX_TAGS} tags", f"give a device at most {MAX_TAGS}"
            )
    return tuple(found.values())


def _printable(text: str) -> bool:
    return text.replace(_JOINER, "").isprintable()
