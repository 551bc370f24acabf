"""Every page as each role, on a phone and on a desk, light and dark: it fits, the browser has nothing to
complain of, and no screen reader stumbles. What it looked like is left in docs/screenshots/all/.

The pages are those of tests/vectors/roles.txt, so none can be forgotten.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final
from urllib.parse import quote

import pytest

from flownexus_appliance.access.roles import Role
from flownexus_appliance.lwm2m.operations import Kind, Operation
from flownexus_appliance.lwm2m.paths import Path
from tests.unit.http.firmware_box import FakeFirmwareBox, stock
from tests.unit.http.house import SENSOR
from tests.unit.http.people import FakeAccess
from tests.unit.http.test_roles import table

from .accessibility import findings
from .chromium import Chromium, Page
from .conftest import House

SHOTS: Final = FilePath(__file__).parents[2] / "docs" / "screenshots" / "all"
SIZES: Final = {"phone": (390, 844), "desk": (1440, 900)}
SCHEMES: Final = ("light", "dark")
# No page of a person's: other media, or what is shown once and tried by tests of its own.
NO_PAGES: Final = (
    "/api/",
    "/fw/",
    "/leshan",
    "/static/",
    "/healthz",
    "/manifest",
    "/ca.",
    "/given/",
    "/new-",
)
DEVICE: Final = quote(SENSOR, safe="")


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody on a page."""

    path: str
    role: Role | None

    @property
    def name(self) -> str:
        place = self.path.strip("/").replace("/", "-").replace("%", "") or "overview"
        return f"{place}-{self.role or 'stranger'}"

    @property
    def looks(self) -> Iterator[tuple[str, str]]:
        """Size and scheme: all for the admin, whose pages have most; for the others two of them."""
        for size in SIZES:
            for scheme in SCHEMES:
                if self.role in (None, Role.ADMIN) or (size, scheme) in (
                    ("phone", "dark"),
                    ("desk", "light"),
                ):
                    yield size, scheme


def pages() -> dict[str, Role | None]:
    """The address of each page, and who may see it."""
    return {
        address: needed
        for (method, address), needed in table().items()
        if method == "GET" and not address.startswith(NO_PAGES)
    }


def filled(address: str, role: Role | None) -> str:
    """An address with things that are there in the place of names."""
    own = list(Role).index(role) + 1 if role is not None else 0  # the numbers of `people.caller`
    kept = own if address.startswith("/account") else 1
    return address.format(endpoint=DEVICE, path="3303/0/5700", name="vera", id=kept)


def visits() -> list[Visit]:
    """Every page as everybody who may see it."""
    found = []
    for address, needed in pages().items():
        if needed is None:
            found.append(Visit(filled(address, None), None))
        else:
            found += [Visit(filled(address, role), role) for role in Role if role.includes(needed)]
    return found


@pytest.mark.parametrize("visit", visits(), ids=lambda visit: visit.name)
async def test_a_page_is_fit_to_be_seen(chromium: Chromium, house: House, visit: Visit) -> None:
    await furnish(house)
    if visit.path == "/setup":
        assert isinstance(house.sources.access, FakeAccess)
        house.sources.access.people.clear()
    for size, scheme in visit.looks:
        width, height = SIZES[size]
        async with chromium.page(width, height, scheme, cookie=visit.role or "") as page:
            await page.open(house.url + visit.path)
            await settled(page)
            await keep(page, f"{visit.name}-{size}-{scheme}")
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(wide) <= 0, f"it is wider than a {size}"
            assert await page.evaluate("document.querySelectorAll('h1').length") == 1
            assert await findings(page) == [], (size, scheme)


async def furnish(house: House) -> None:
    """What pages tell of: an operation, a credential, firmware, the first of each."""
    assert isinstance(house.sources.firmware, FakeFirmwareBox)
    await stock(house.sources.firmware)
    await house.sources.operations.ask(SENSOR, Operation(Kind.READ, (Path.of(3303, 0, 5700),)), "anna")
    await house.sources.credentials.add_psk(SENSOR, label="by the door")


async def settled(page: Page) -> None:
    """Wait for what comes after the page: the stream, and the first chart."""
    await page.until(
        "document.readyState === 'complete' && (document.body.dataset.streamAfter === undefined"
        " || document.querySelector('#live[data-live=live], #live[hidden]'))"
    )
    await page.until(
        "!document.querySelector('[data-chart]')"
        " || document.querySelector('[data-chart] canvas, [data-chart] svg')"
    )
    # Colours on their way from one to another would be measured in between.
    await page.until(
        "document.getAnimations().every((one) => one.playState !== 'running'"
        " || one.effect.getTiming().iterations === Infinity)"
    )


async def keep(page: Page, name: str) -> None:
    """Leave a picture of the whole page."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    shot = await page.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
    (SHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
