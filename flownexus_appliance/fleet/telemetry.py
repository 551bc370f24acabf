"""Values from devices, on their way to the disk and then to whoever looks.

A value is published only after the commit that holds it.
"""

import asyncio
from typing import Any

from ..db.store import ResourceType, Store
from ..events import EventBus
from ..lwm2m.effects import Report
from ..lwm2m.model import ModelSet
from ..lwm2m.paths import Path
from ..lwm2m.plain import to_plain
from ..lwm2m.values import DataType


class Telemetry:
    """Stores records as samples and tells the bus of them."""

    def __init__(self, store: Store, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        self.values = 0

    def take(self, report: Report) -> asyncio.Future[None]:
        """Gather records into the next commit; the future is done when they are on disk."""
        self._store.add_samples(report.endpoint, report.records, report.received_ms)
        return self._store.commit()

    def publish(self, report: Report) -> None:
        """Tell of records that are on disk."""
        self.values += len(report.records)
        self._bus.publish("values", values_event(report), report)


def values_event(report: Report) -> dict[str, Any]:
    """What the world is told of a report."""
    return {
        "endpoint": report.endpoint,
        "received_ms": report.received_ms,
        "values": [
            {
                "path": str(r.path),
                "value": to_plain(r.value),
                "data_type": r.data_type.value,
                "time_ms": report.received_ms if r.time_ms is None else r.time_ms,
            }
            for r in report.records
        ],
    }


def describe(models: ModelSet, path: Path, data_type: DataType) -> ResourceType:
    """What the model calls the resource at a path; the wire's type where no model knows it."""
    known = models.resource(path)
    if known is None:
        return ResourceType(f"Resource {path[2]}", data_type, "")
    return ResourceType(known.name, known.data_type, known.units or "")
