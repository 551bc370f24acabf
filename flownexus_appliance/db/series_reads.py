"""Which numbers the fleet has told: what the page that compares devices offers to choose from."""

from dataclasses import dataclass
from typing import Final

# Of the data types that a chart can draw. Times are numbers too, but say nothing as a curve. The series are
# looked through once: that takes less than an index would cost at every new series.
KINDS: Final = """
    SELECT t.object_id, t.resource_id, t.name, told.series
    FROM (SELECT resource_type_id, count(*) AS series FROM series
          WHERE data_type IN ('float', 'integer', 'unsigned', 'boolean') GROUP BY resource_type_id) told
    JOIN resource_type t ON t.id = told.resource_type_id
    ORDER BY t.object_id, t.resource_id
"""
OF_KIND: Final = """
    SELECT e.name AS endpoint, e.label, s.path
    FROM series s
    JOIN resource_type t ON t.id = s.resource_type_id
    JOIN endpoint e ON e.id = s.endpoint_id
    WHERE t.object_id = :object AND t.resource_id = :resource
      AND s.data_type IN ('float', 'integer', 'unsigned', 'boolean')
      AND (:search = '' OR instr(lower(e.name || ' ' || e.label), lower(:search)))
    ORDER BY lower(iif(e.label = '', e.name, e.label)), e.name, s.path
    LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class SeriesKind:
    """A resource that some device has told numbers of, whatever the instance; `name` is the resource's,
    `series` how many there are of it."""

    object_id: int
    resource_id: int
    name: str
    series: int


@dataclass(frozen=True, slots=True)
class SeriesPlace:
    """A series by its device and path; `label` is the device's, "" where it has none."""

    endpoint: str
    label: str
    path: str
