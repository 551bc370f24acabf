"""The way to the daemon: when it is not there, not ours to command, or does not answer as it should."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from flownexus_appliance.cli import main, output
from flownexus_appliance.cli.console import Console, Refused, below
from flownexus_appliance.errors import ApplianceError, UsageError


@contextmanager
def daemon(state: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """Something that answers each connection on the control socket with these bytes; what it was asked."""
    asked: list[bytes] = []
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(state / "control.sock"))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # nobody asks any more
                with closing(connection), connection.makefile("rb") as sent:
                    asked.append(read_request(sent))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def read_request(sent: BinaryIO) -> bytes:
    """A whole request: its head, and as much after it as the head says."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sent.readline()
    length = re.search(rb"Content-Length: (\d+)", head)
    return head + sent.read(int(length[1]) if length else 0)


def response(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status.encode(),
        len(body),
        body,
    )


def test_no_daemon_is_told_with_the_way_to_start_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["status"], ["device", "list"], ["cert"]):
        assert main(words) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("flownexus: the daemon does not run on ./var\n  hint: start it with ./run")


def test_a_socket_that_was_left_behind_is_no_daemon(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(UsageError) as caught:
        Console(tmp_path).get("/status")
    assert caught.value.code == "daemon_absent"
    assert str(tmp_path) in caught.value.message


def test_another_users_daemon_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("flownexus_appliance.cli.console._Connection.connect", refuse)
    with pytest.raises(UsageError) as caught:
        Console(tmp_path).get("/status")
    assert caught.value.code == "control_forbidden"


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_daemon_that_breaks_off_is_told(tmp_path: Path, answer: bytes) -> None:
    with daemon(tmp_path, answer), pytest.raises(ApplianceError) as caught:
        Console(tmp_path).get("/status")
    assert caught.value.code == "daemon_silent"
    assert not isinstance(caught.value, Refused)


def test_what_the_daemon_refuses_is_told_as_it_said_it(tmp_path: Path) -> None:
    body = json.dumps({"error": "e", "message": "m", "hint": "h"}).encode()
    with daemon(tmp_path, response("404 Not Found", body)), pytest.raises(Refused) as caught:
        Console(tmp_path).get("/status")
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("e", "m", "h")


def test_what_is_not_there_is_listed_by_a_command(tmp_path: Path) -> None:
    body = json.dumps({"error": "update_unknown", "message": "m", "hint": "GET updates lists them"}).encode()
    with daemon(tmp_path, response("404 Not Found", body)), pytest.raises(Refused) as caught:
        Console(tmp_path).get("/updates/9")
    assert caught.value.hint == "list them: flownexus firmware updates"


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b'{"error": "e"}', b"<html>"])
def test_a_refusal_in_another_form_is_one_too(tmp_path: Path, body: bytes) -> None:
    with daemon(tmp_path, response("500 Oh", body)), pytest.raises(Refused) as caught:
        Console(tmp_path).get("/status")
    assert caught.value.code == "answer_unusable"
    assert "500" in caught.value.message


def test_what_is_asked(tmp_path: Path) -> None:
    fine = response("200 OK", b"{}")
    with daemon(tmp_path, fine, fine, fine) as asked:
        console = Console(tmp_path)
        console.get(below("endpoints", "a/b ä"), q="x&y", state="")
        console.post("/enrolment", {"minutes": 3})
        console.post("/certificates/rotate")
    first, second, third = (request.partition(b"\r\n\r\n") for request in asked)
    assert first[0].startswith(b"GET /api/v1/endpoints/a%2Fb%20%C3%A4?q=x%26y HTTP/1.1\r\n")
    assert second[0].startswith(b"POST /api/v1/enrolment HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in second[0]
    assert json.loads(second[2]) == {"minutes": 3}
    assert b"Content-Type" not in third[0]
    assert third[2] == b""


def test_what_is_changed_uploaded_and_taken_away(tmp_path: Path) -> None:
    fine = response("200 OK", b"{}")
    with daemon(tmp_path, fine, fine, fine, response("200 OK", b"")) as asked:
        console = Console(tmp_path)
        console.patch(below("endpoints", "a"), {"label": ""})
        console.upload("/models", b"\xff<x/>", "application/xml")
        console.delete("/x", path=["/3/0", "/4"], passive="1", nothing="", none=[])
        assert console.post("/y") is None
    first, second, third, _ = (request.partition(b"\r\n\r\n") for request in asked)
    assert first[0].startswith(b"PATCH /api/v1/endpoints/a HTTP/1.1\r\n")
    assert json.loads(first[2]) == {"label": ""}
    assert b"Content-Type: application/xml" in second[0]
    assert second[2] == b"\xff<x/>"
    assert third[0].startswith(b"DELETE /api/v1/x?path=%2F3%2F0&path=%2F4&passive=1 HTTP/1.1\r\n")


def test_a_file_is_sent_as_it_is_read(tmp_path: Path) -> None:
    with daemon(tmp_path, response("200 OK", b'{"id": 3}')) as asked:
        pieces = (b"abc", b"", b"d")
        assert Console(tmp_path).send("/firmware", pieces, 4, note="a b", tag="") == {"id": 3}
    head, _, content = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/firmware?note=a+b HTTP/1.1\r\n")
    assert b"Content-Type: application/octet-stream" in head
    assert b"Content-Length: 4" in head
    assert b"chunked" not in head
    assert content == b"abcd"


def test_a_daemon_that_has_heard_enough_says_why(tmp_path: Path) -> None:
    """It answers before it has read all, and hangs up: what it said is not lost."""
    body = json.dumps({"error": "storage_low", "message": "m", "hint": "h"}).encode()
    answered = threading.Event()

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with closing(connection):
            connection.recv(1)
            connection.sendall(response("507 Insufficient Storage", body))
        answered.set()

    def pieces() -> Iterator[bytes]:
        yield b"x"
        assert answered.wait(10)
        yield from [b"x" * 1000] * 1000

    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        thread = threading.Thread(target=refuse, args=(listener,))
        thread.start()
        with pytest.raises(Refused) as caught:
            Console(tmp_path).send("/firmware", pieces(), 1_000_001)
        thread.join()
    assert caught.value.code == "storage_low"


def test_a_daemon_that_hangs_up_without_a_word_is_silent(tmp_path: Path) -> None:
    with daemon(tmp_path, b""), pytest.raises(ApplianceError) as caught:
        Console(tmp_path).send("/firmware", [b"abcd"], 4)
    assert caught.value.code == "daemon_silent"


def test_a_file_that_cannot_be_read_is_no_fault_of_the_daemon(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise UsageError("file_unusable", "m", "h")

    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        with pytest.raises(UsageError) as caught:
            Console(tmp_path).send("/firmware", pieces(), 4)
    assert caught.value.code == "file_unusable"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"3\r\nabc\r\n3\r\nd",
        CHUNKED + b"3\r\nabc\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ],
)
def test_what_breaks_off_in_the_middle_is_never_taken_for_whole(tmp_path: Path, answer: bytes) -> None:
    with daemon(tmp_path, answer):
        chunks = Console(tmp_path).chunks("/export")
        assert next(chunks) == b"abc"
        with pytest.raises(ApplianceError) as caught:
            list(chunks)
    assert caught.value.code == "daemon_silent"


def test_what_is_whole_ends(tmp_path: Path) -> None:
    whole = CHUNKED + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    with daemon(tmp_path, whole, response("200 OK", b"abcd"), response("200 OK", b"")):
        console = Console(tmp_path)
        assert [b"".join(console.chunks("/export")) for _ in range(3)] == [b"abcd", b"abcd", b""]


def test_events_are_told_as_they_come(tmp_path: Path) -> None:
    text = b'retry: 2000\n\n: heartbeat\nid: 4\n\nevent: a\ndata: {"b": "c: d"}\n\nid: 5\n\n'
    text += b"event: reset\ndata: {}\n\n"
    answer = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
    with daemon(tmp_path, answer), Console(tmp_path).listen("/stream", endpoint="x") as events:
        assert [next(events), next(events)] == [("a", {"b": "c: d"}), ("reset", {})]
        with pytest.raises(ApplianceError) as caught:
            next(events)
    assert caught.value.code == "daemon_silent"


def test_an_error_of_whoever_listens_is_their_own(tmp_path: Path) -> None:
    with daemon(tmp_path, CHUNKED), pytest.raises(BrokenPipeError), Console(tmp_path).listen("/stream"):
        raise BrokenPipeError


def test_a_reader_that_had_enough_is_no_failure(tmp_path: Path) -> None:
    """As in `flownexus device list | head -1`: no traceback, and nothing else either."""
    device = {"endpoint": "a", "state": "online", "last_seen_ms": 0, "label": "", "tags": []}
    pages = [{"items": [device] * 3, "next": None}, {"items": [], "next": None}]
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "flownexus_appliance", "device", "list", "--state", str(tmp_path)]
    with daemon(tmp_path, *(response("200 OK", json.dumps(page).encode()) for page in pages)):
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode == 1


def test_a_time_that_no_calendar_has_is_told_as_a_number() -> None:
    assert output.moment(None) == "never"
    assert output.moment(10**17) == f"{10**17} ms"


def test_tables_hold_what_devices_say_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_table(("A", "B"), [("\x1b[31mred\n", "x" * 100), ("ä", "")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("?[31mred?  x")
    assert lines[1].endswith("…")
    assert lines[2] == "ä"


def test_the_words_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        [],
        ["device"],
        ["device", "add"],
        ["nonsense"],
        ["device", "enrol", "--close", "--minutes", "3"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        assert "usage: flownexus" in capsys.readouterr().err
