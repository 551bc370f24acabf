"""`make bench`: every benchmark in one run, or those named: `python -m benchmarks charts`."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .browsers import browsers
from .charts import charts
from .dtls import dtls
from .firmware import firmware
from .footprint import footprint
from .ingest import ingest
from .overview import overview
from .results import RESULTS, Figure, show, write
from .wake import wake

ALL: Final[dict[str, Callable[[Path], list[Figure]]]] = {
    "ingest": ingest,
    "dtls": dtls,
    "charts": charts,
    "overview": overview,
    "browsers": browsers,
    "footprint": footprint,
    "wake": wake,
    "firmware": firmware,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    # Beside the results, not in /tmp: that may be memory, and these figures are about disks.
    with tempfile.TemporaryDirectory(dir=RESULTS.parent, prefix=".run-") as work:
        for name in names or ALL:
            print(f"{name} ...", flush=True)
            for figure in ALL[name](Path(work)):
                print(show(figure), flush=True)
                figures.append(figure)
    if not names:
        write(figures)
        print(f"written to {RESULTS.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
