"""The error type, and text from peers made fit to be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import MAX_PEER_TEXT, ApplianceError, PeerError, UsageError, clean


@pytest.mark.parametrize("kind", [ApplianceError, PeerError, UsageError])
def test_an_error_says_what_and_what_to_do(kind: type[ApplianceError]) -> None:
    error = kind("path_invalid", "not a path: x", "write it so")
    assert (error.code, error.message, error.hint) == ("path_invalid", "not a path: x", "write it so")
    assert str(error) == "not a path: x (path_invalid)"
    assert kind("a", "b").hint == ""


@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 200))
def test_clean_text_is_printable_and_short(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert shown.endswith("…") or len(shown) == len(text)
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 𝄞", "plain é 𝄞"),
        ("a\r\nb\0c\x1b[31m", "a??b?c?[31m"),
        ("\u202edecoy\u2028", "?decoy?"),
        ("x" * MAX_PEER_TEXT, "x" * MAX_PEER_TEXT),
        ("x" * (MAX_PEER_TEXT + 1), "x" * (MAX_PEER_TEXT - 1) + "…"),
        ("", ""),
    ],
)
def test_what_becomes_of_unprintable_text(text: str, shown: str) -> None:
    assert clean(text) == shown
