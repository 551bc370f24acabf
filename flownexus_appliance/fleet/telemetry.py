"""Values from devices, on their way to the disk and then to whoever looks.

A value is published only after the commit that holds it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from ..db.store import ResourceType, Store
from ..events import EventBus
from ..lwm2m.model import ModelSet
from ..lwm2m.paths import Path
from ..lwm2m.plain import to_plain
from ..lwm2m.values import DataType, Record


class Telemetry:
    """Stores records as samples and tells the bus of them."""

    def __init__(self, store: Store, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        self.values = 0

    def take(self, endpoint: str, records: Sequence[Record], received_ms: int) -> asyncio.Future[None]:
        """Gather records into the next commit; the future is done when they are on disk."""
        self._store.add_samples(endpoint, records, received_ms)
        return self._store.commit()

    def publish(self, endpoint: str, records: Sequence[Record], received_ms: int) -> None:
        """Tell of records that are on disk."""
        self.values += len(records)
        self._bus.publish("values", values_event(endpoint, records, received_ms))


def values_event(endpoint: str, records: Sequence[Record], received_ms: int) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "received_ms": received_ms,
        "values": [
            {
                "path": str(r.path),
                "value": to_plain(r.value),
                "data_type": r.data_type.value,
                "time_ms": received_ms if r.time_ms is None else r.time_ms,
            }
            for r in records
        ],
    }


def describe(models: ModelSet, path: Path, data_type: DataType) -> ResourceType:
    """What the model calls the resource at a path; the wire's type where no model knows it."""
    known = models.resource(path)
    if known is None:
        return ResourceType(f"Resource {path[2]}", data_type, "")
    return ResourceType(known.name, known.data_type, known.units or "")
