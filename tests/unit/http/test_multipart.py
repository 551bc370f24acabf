"""Forms taken apart as they come: whatever the pieces are that they come in, and however they are broken."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.multipart import MAX_HEAD, MAX_PARTS, FormData, Part

BOUNDARY = "----b0undary"
LINE = f"--{BOUNDARY}\r\n".encode()
END = f"--{BOUNDARY}--\r\n".encode()


def field(name: str, content: bytes, file_name: str | None = None) -> bytes:
    about = "" if file_name is None else f'; filename="{file_name}"\r\nContent-Type: application/octet-stream'
    return LINE + f'Content-Disposition: form-data; name="{name}"{about}\r\n\r\n'.encode() + content + b"\r\n"


def head(text: str) -> bytes:
    return LINE + text.encode() + b"\r\n\r\nx\r\n" + END


def form_of(body: bytes, size: int) -> FormData:
    """A form that comes in pieces of so many bytes."""
    pieces: Iterator[bytes] = iter([body[at : at + size] for at in range(0, len(body), size)])

    async def read() -> bytes:
        return next(pieces, b"")

    return FormData(read, BOUNDARY)


def taken(body: bytes, size: int = 7) -> list[tuple[Part, bytes]]:
    async def take() -> list[tuple[Part, bytes]]:
        form = form_of(body, size)
        found = []
        while (part := await form.next_part()) is not None:
            content = b""
            while piece := await form.piece():
                content += piece
            found.append((part, content))
        return found

    return asyncio.run(take())


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n%', exclude_categories=["C"])),
            st.one_of(st.binary(max_size=200), st.just(b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n--")),
            st.sampled_from([None, "", "app.bin", "Grüße ☃.bin"]),
        ),
        max_size=5,
    ),
    st.integers(1, 300),
    st.sampled_from([b"", b"preamble\r\n", b"\r\n\r\n"]),
)
def test_what_was_put_together_comes_apart(
    fields: list[tuple[str, bytes, str | None]], size: int, before: bytes
) -> None:
    body = before + b"".join(field(*one) for one in fields) + END
    assert taken(body, size) == [(Part(name, file), content) for name, content, file in fields]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_a_form_or_a_usage_error(body: bytes, size: int) -> None:
    for content in (body, LINE + body, LINE + b"Content-Disposition: form-data; " + body):
        code = ""
        try:
            taken(content, size)
        except UsageError as error:
            code = error.code
        assert code in ("", "body_invalid")


@pytest.mark.parametrize(
    ("disposition", "part"),
    [
        ('form-data; name="package"; filename="app.bin"', Part("package", "app.bin")),
        ("FORM-DATA;filename=app.bin;name=package", Part("package", "app.bin")),
        ('form-data; name="a;filename=b"', Part("a;filename=b", None)),
        ('form-data; name="f"; filename="say %22hi%22.bin"', Part("f", 'say "hi".bin')),
        ('form-data; name="f"; filename="say \\"hi\\".bin"', Part("f", 'say "hi".bin')),
        ('form-data; name="f"; filename="../../etc/passwd"', Part("f", "../../etc/passwd")),
        ('form-data; name="f"; filename="C:\\dir\\app.bin"', Part("f", "C:\\dir\\app.bin")),
        ("form-data; name=\"f\"; filename*=UTF-8''x.bin", Part("f", None)),
    ],
)
def test_how_a_part_says_its_name(disposition: str, part: Part) -> None:
    assert taken(head(f"X-Other: 1\r\ncontent-disposition: {disposition}")) == [(part, b"x")]


def test_white_space_behind_a_boundary_and_a_part_without_content() -> None:
    line = f"--{BOUNDARY} \t\r\n".encode()
    named = b'Content-Disposition: form-data; name="a"\r\n\r\n'
    assert taken(line + named + LINE + named + END) == [(Part("a", None), b"")] * 2


def test_what_comes_behind_the_end_does_not_matter() -> None:
    assert taken(field("a", b"1") + END + field("b", b"2")) == [(Part("a", None), b"1")]


async def test_a_part_nobody_reads_is_passed_over() -> None:
    form = form_of(field("a", b"1" * 1000) + field("b", b"2") + END, 64)
    assert await form.next_part() == Part("a", None)
    assert await form.piece()
    assert await form.next_part() == Part("b", None)
    assert await form.piece() == b"2"
    assert await form.next_part() is None


async def test_nothing_is_held_but_a_piece() -> None:
    """A file goes on before the next bytes of it are there."""
    asked = 0

    async def read() -> bytes:
        nonlocal asked
        asked += 1
        return field("f", b"x" * 50_000, "a.bin")[:40_000] if asked == 1 else b"y" * 10_000

    form = FormData(read, BOUNDARY)
    await form.next_part()
    assert len(await form.piece()) > 39_000
    assert asked == 1
    assert len(await form.piece()) >= 10_000
    assert asked == 2


BROKEN = {
    "nothing": b"",
    "no boundary": b"version=1.5.0",
    "another boundary": b"--other\r\n\r\n",
    "it ends in a head": LINE + b"Content-Disposition: form-data",
    "it ends in a part": field("a", b"1")[:-2],
    "it ends behind a boundary": field("a", b"1") + f"--{BOUNDARY}".encode(),
    "a part without a name": head("Content-Type: text/plain"),
    "a part that is no field": head('Content-Disposition: attachment; name="a"'),
    "a head that is not UTF-8": LINE + b'Content-Disposition: form-data; name="\xff"\r\n\r\nx\r\n' + END,
    "base64": head('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64'),
    "a long head": head(f'Content-Disposition: form-data; name="{"n" * MAX_HEAD}"'),
    "many parts": field("a", b"1") * (MAX_PARTS + 1) + END,
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_is_broken_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(UsageError) as caught:
        taken(body, size)
    assert caught.value.code == "body_invalid"


def test_a_head_without_an_end_is_not_gathered() -> None:
    given_bytes = 0

    async def read() -> bytes:
        nonlocal given_bytes
        given_bytes += 1000
        return LINE + b"X: " if given_bytes == 1000 else b"y" * 1000

    with pytest.raises(UsageError):
        asyncio.run(FormData(read, BOUNDARY).next_part())
    assert given_bytes < 10 * MAX_HEAD


@pytest.mark.parametrize("boundary", ["", "b" * 71, "grün"])
def test_a_boundary_that_cannot_be(boundary: str) -> None:
    async def read() -> bytes:
        return b""

    with pytest.raises(UsageError):
        FormData(read, boundary)
