"""axe-core on a page that is open: what a screen reader, a keyboard or weak eyes would stumble over.

The rules of WCAG 2.2 A and AA and axe's own good practice. `serious` and `critical` findings may not land.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from .chromium import Page

AXE: Final = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
GRAVE: Final = ("serious", "critical")


@cache
def _script() -> str:
    if not AXE.is_file():
        pytest.fail("axe-core is not installed: run scripts/setup.sh test", pytrace=False)
    return AXE.read_text(encoding="utf-8")


async def findings(page: Page) -> list[str]:
    """The grave findings, each as one line: rule, what it means, and where."""
    await page.evaluate(f"(() => {{ {_script()} }})()")
    options = json.dumps({"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]})
    found: list[dict[str, Any]] = (await page.evaluate(f"axe.run(document, {options})"))["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]} {_numbers(node)}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


def _numbers(node: dict[str, Any]) -> str:
    """What axe measured: of contrast the two colours and their ratio."""
    data: dict[str, Any] = next(
        (check["data"] for check in node["any"] if isinstance(check.get("data"), dict)), {}
    )
    return " ".join(
        f"{name}={data[name]}" for name in ("fgColor", "bgColor", "contrastRatio") if name in data
    )
