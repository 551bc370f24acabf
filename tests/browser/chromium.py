"""Drives Debian's Chromium by the Chrome DevTools Protocol over the WebSocket client that aiohttp is.

No driver program and no library besides what the daemon needs anyway: what a test wants of a browser is
a handful of commands, and complaints (script errors, policy violations) come as events by themselves.
"""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from flownexus_appliance.http.guard import COOKIE

COMMANDS: Final = ("chromium", "chromium-browser", "google-chrome")
START_S: Final = 30.0
PATIENCE_MS: Final = 8000
HOUSE: Final = "https://127.0.0.1/"  # cookies are of a host, whatever the port
_ANNOUNCEMENT: Final = "DevTools listening on "
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",  # root in a container; it only ever opens our own pages
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "about:blank",
)


@contextmanager
def running_chromium(profile: Path, trusted_key: str) -> Iterator[str]:
    """A browser for as long as the context is open; gives the address to drive it at.

    `trusted_key` is the SHA-256 of the one server key it takes without asking, in Base64.
    """
    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    if command is None:
        pytest.fail(
            "Chromium is not installed. As root: apt-get install --no-install-recommends chromium",
            pytrace=False,
        )
    process = subprocess.Popen(
        [
            command,
            f"--user-data-dir={profile}",
            f"--ignore-certificate-errors-spki-list={trusted_key}",
            *_OPTIONS,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stderr is not None
    lines: list[str] = []
    announced = threading.Event()

    def drain() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if line.startswith(_ANNOUNCEMENT):
                announced.set()
        announced.set()

    thread = threading.Thread(target=drain, name="chromium stderr")
    thread.start()
    try:
        announced.wait(START_S)
        found = [line for line in lines if line.startswith(_ANNOUNCEMENT)]
        if not found:
            pytest.fail(f"{command} did not start:\n{''.join(lines[-20:])}", pytrace=False)
        yield found[0].removeprefix(_ANNOUNCEMENT).strip()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        thread.join()
        process.stderr.close()


class Chromium:
    """A connection to a running browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pages: dict[str, Page] = {}

    async def listen(self) -> None:
        async for message in self._socket:
            answer = json.loads(message.data)
            if "id" in answer:
                waiting = self._waiting.pop(answer["id"])
                if not waiting.done():
                    waiting.set_result(answer)
            elif (page := self.pages.get(answer.get("sessionId", ""))) is not None:
                page.noticed(answer["method"], answer["params"])

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        self._number += 1
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = waiting
        command = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(PATIENCE_MS / 1000 + 10):
            answer = await waiting
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    @asynccontextmanager
    async def page(
        self, width: int = 1280, height: int = 900, scheme: str = "light", cookie: str = "admin"
    ) -> AsyncIterator["Page"]:
        """A page in a profile of its own; when it closes, it must have had nothing to complain of.

        `cookie` is the secret of its session: for a house of fakes the name of a role, "" for a stranger.
        """
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        self.pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await page.call("Emulation.setEmulatedMedia", features=[feature])
        if cookie:
            await page.call(
                "Network.setCookie", name=COOKIE, value=cookie, url=HOUSE, secure=True, httpOnly=True
            )
        try:
            yield page
        finally:
            await self.call("Target.disposeBrowserContext", browserContextId=context)
            del self.pages[page.session]
        assert not page.complaints, f"the browser complained: {page.complaints}"


class Page:
    """One page. `complaints` are script errors, console errors and what the browser itself reports."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self.session = session
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._loaded = asyncio.Event()

    def noticed(self, method: str, parameters: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                entry = parameters["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])
            case "Page.loadEventFired":
                self._loaded.set()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.call(method, self.session, **parameters)

    async def open(self, url: str) -> None:
        self._loaded.clear()
        answer = await self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer
        await self._wait_for_load()

    async def follow(self, selector: str) -> None:
        """Click on a link and wait until its page has loaded."""
        self._loaded.clear()
        await self.click(selector)
        await self._wait_for_load()

    async def back(self) -> None:
        """Go back as by the browser's button, and wait until that page has loaded."""
        history = await self.call("Page.getNavigationHistory")
        self._loaded.clear()
        entry = history["entries"][history["currentIndex"] - 1]["id"]
        await self.call("Page.navigateToHistoryEntry", entryId=entry)
        await self._wait_for_load()

    async def _wait_for_load(self) -> None:
        async with asyncio.timeout(PATIENCE_MS / 1000):
            await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        details = answer.get("exceptionDetails")
        assert details is None, details.get("exception", {}).get("description", details)
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true; its value."""
        failure = json.dumps(f"never true: {expression}")
        return await self.evaluate(
            f"""new Promise((resolve, reject) => {{
              const begun = performance.now();
              const look = () => {{
                const value = (() => {expression})();
                if (value) resolve(value);
                else if (performance.now() - begun < {PATIENCE_MS}) setTimeout(look, 20);
                else reject(new Error({failure} + "\\n" + document.body.innerText));
              }};
              look();
            }})"""
        )

    async def text(self, selector: str) -> str:
        found = await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")
        assert found is not None, f"nothing is {selector}"
        return " ".join(str(found).split())

    async def until_text(self, selector: str, text: str) -> None:
        """Wait until the text of an element holds these words."""
        found = f"document.querySelector({json.dumps(selector)})?.innerText.replace(/\\s+/g, ' ') ?? ''"
        await self.until(f"({found}).includes({json.dumps(text)})")

    async def click(self, selector: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def type(self, selector: str, text: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.call("Input.insertText", text=text)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Chromium]:
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        chromium = Chromium(socket)
        listener = asyncio.create_task(chromium.listen())
        try:
            yield chromium
        finally:
            await socket.close()
            await listener
