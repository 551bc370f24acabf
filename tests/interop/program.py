"""A program under test: started as a process of its own, read line by line, stopped by a signal.

Nothing here sleeps for a guessed time: a wait ends when its condition holds, or fails at its deadline.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_S = 0.05
STOP_WITHIN_S = 20.0


def until(holds: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    """Return once `holds()` is true; fail, naming `what`, when it is not `within_s` seconds from now."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(POLL_S)


class Program:
    """A process whose output is kept whole in `log` and can be waited on line by line."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.folder = folder
        self.log: list[str] = []
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        assert self._process is None, f"{self.name} already runs"
        self._unread = queue.SimpleQueue()
        self._process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            # Logs are to come as they do on a console, whoever runs the tests.
            env={name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, self._unread), name=self.name)
        self._reader.start()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def say(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self._process is not None, f"{self.name} does not run"
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def pass_over(self) -> None:
        """What it has said until now is not waited for any more."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._unread.get_nowait()

    def wait_for(self, wanted: Callable[[str], object], what: str, within_s: float = 30.0) -> str:
        """The next unread line that is `wanted`; the lines before it are read past."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                line = self._unread.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name}: no {what} within {within_s:g} s\n{self.tail()}") from None
            if line is None:
                raise AssertionError(f"{self.name} ended before {what}\n{self.tail()}")
            if wanted(line):
                return line

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """Signal it and wait for its end; its exit code, negative when a signal ended it."""
        assert self._process is not None, f"{self.name} does not run"
        self._process.send_signal(by)
        try:
            code = self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} still ran {STOP_WITHIN_S:g} s after {by.name}\n{self.tail()}"
            ) from None
        self._gone()
        return code

    def kill(self) -> None:
        """End it as a power cut would: without a chance to say goodbye."""
        assert self._process is not None, f"{self.name} does not run"
        self._process.kill()
        self._process.wait(STOP_WITHIN_S)
        self._gone()

    def end(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None:
            self.kill()

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log[-lines:])

    def _read(self, process: subprocess.Popen[str], unread: queue.SimpleQueue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.log.append(line.rstrip("\n"))
            unread.put(line.rstrip("\n"))
        unread.put(None)

    def _gone(self) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._reader.join(STOP_WITHIN_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = self._reader = None
