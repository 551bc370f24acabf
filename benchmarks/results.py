"""The figures and their file: one entry a name, in the order of docs/benchmarks.md."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).parent / "results.json"

# Every figure the project means to have. What is not built yet is null, and says so.
NAMES: Final = (
    "ingest_vs_aiocoap",
    "ingest_vs_seed",
    "ingest_vs_leshan_cpu",
    "dtls_ingest_vs_nosec",
    "psk_handshakes_vs_engine",
    "ecdsa_handshakes_vs_engine",
    "storm_5000_full_vs_engine",
    "storm_5000_saved_vs_nosec",
    "rss_1000_mb",
    "rss_5000_dtls_mb",
    "parked_session_bytes",
    "live_session_bytes",
    "wake_session_us",
    "idle_cpu_percent",
    "start_to_ready_s",
    "bytes_per_sample",
    "write_amplification",
    "insert_flatness_100m",
    "chart_100k_over_sqlite_ms",
    "chart_year_p95_ms",
    "overview_1000_ms",
    "overview_5000_ms",
    "overview_transfer_kb",
    "overview_first_paint_ms",
    "overview_layout_shift",
    "wake_to_first_request_ms",
    "wire_to_browser_p95_ms",
    "ingest_20_browsers",
    "firmware_200_s",
    "firmware_rss_mb",
    "notify_p95_during_firmware_ms",
    "firmware_blocks_vs_aiocoap",
    "air_bytes_vs_leshan",
    "rules_cost_ratio",
    "log_search_1m_ms",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement; `ratio` is figure over `against` (the peer's figure) where there is a peer."""

    name: str
    figure: float | None
    unit: str
    against: float | None = None
    ratio: float | None = None
    why: str | None = None


def write(figures: list[Figure]) -> None:
    """Write `results.json`, with a null entry for every name that was not measured."""
    measured = {figure.name: figure for figure in figures}
    unknown = set(measured) - set(NAMES)
    if unknown:
        raise ValueError(f"not in the list of names: {', '.join(sorted(unknown))}")
    missing = "what it measures is not built yet"
    entries = [asdict(measured.get(name, Figure(name, None, "", why=missing))) for name in NAMES]
    for entry in entries:
        if entry["why"] is None:
            del entry["why"]
    RESULTS.write_text(json.dumps(entries, indent=1) + "\n")


def show(figure: Figure) -> str:
    """One line for a person."""
    if figure.figure is None:
        return f"{figure.name:28} -           {figure.why}"
    line = f"{figure.name:28} {figure.figure:10.4g} {figure.unit}"
    if figure.against is not None and figure.ratio is not None:
        line += f"   against {figure.against:.4g}, ratio {figure.ratio:.3g}"
    return line
