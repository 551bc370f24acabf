"""What may be noted about a device, and that it is kept as it was meant."""

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.noted import MAX_NOTES, MAX_TAGS, label_of, notes_of, tags_of


@pytest.mark.parametrize("label", ["", "Küche", "x" * 100, "👩\u200d🌾 <b>field</b>"])
def test_a_label_is_kept_as_it_is(label: str) -> None:
    assert label_of(label) == label


@pytest.mark.parametrize("label", ["x" * 101, "a\nb", "\x00", "\ud800", "a\u202eb", "x" * 2_000_000])
def test_a_label_that_cannot_be(label: str) -> None:
    with pytest.raises(UsageError) as raised:
        label_of(label)
    assert raised.value.code == "label_invalid"
    assert "100" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("\tcolumn <script>", "\tcolumn <script>"),
        ("a\u0308", "ä"),
        ("x" * MAX_NOTES, "x" * MAX_NOTES),
        # A browser counts a line's end as one character, and sends two.
        ("\r\n" * MAX_NOTES, "\n" * MAX_NOTES),
    ],
)
def test_notes_keep_their_lines(text: str, kept: str) -> None:
    assert notes_of(text) == kept


@pytest.mark.parametrize("text", ["x" * (MAX_NOTES + 1), "a\x00", "\x1b[1m", "\ud800"])
def test_notes_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        notes_of(text)
    assert raised.value.code == "notes_invalid"


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ([], ()),
        (["  Garden "], ("Garden",)),
        (["Garden", "garden", "GARDEN", "roof"], ("Garden", "roof")),
        (["STRASSE", "straße"], ("STRASSE",)),
        (["a\u0308", "ä"], ("ä",)),
        (["x" * 32], ("x" * 32,)),
        ([f"t{n}" for n in range(MAX_TAGS)] * 2, tuple(f"t{n}" for n in range(MAX_TAGS))),
    ],
)
def test_tags_are_trimmed_and_each_is_once(texts: list[str], kept: tuple[str, ...]) -> None:
    assert tags_of(texts) == kept


@pytest.mark.parametrize("tag", ["", "  ", "x" * 33, "a\nb", "\x7f", "a,b", "\ud800"])
def test_a_tag_that_cannot_be(tag: str) -> None:
    with pytest.raises(UsageError) as raised:
        tags_of(["fine", tag])
    assert raised.value.code == "tag_invalid"


def test_a_device_has_so_many_tags_and_no_more() -> None:
    with pytest.raises(UsageError) as raised:
        tags_of([f"t{n}" for n in range(MAX_TAGS + 1)])
    assert raised.value.code == "tag_limit"
