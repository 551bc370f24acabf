"""Any operation, and whatever a device answers to it, comes back from its row as it went in."""

import sqlite3
from contextlib import closing
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.db import operations as rows
from flownexus_appliance.db.migrate import schema_files
from flownexus_appliance.db.operations import Attempt, EndpointOperation, Outcome, operation_of
from flownexus_appliance.db.writer import Batch
from flownexus_appliance.lwm2m.attributes import ATTRIBUTES
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import MAX_ID, Path
from flownexus_appliance.lwm2m.values import (
    INT64_MAX,
    INT64_MIN,
    UINT64_MAX,
    DataType,
    ObjectLink,
    Record,
)

ids = st.integers(0, MAX_ID)
paths = st.lists(ids, max_size=4).map(Path)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
times = st.none() | st.integers(INT64_MIN, INT64_MAX)
numbers = st.integers(0, 0xFFFF)
typed = st.one_of(
    st.tuples(texts, st.sampled_from((DataType.STRING, DataType.CORELNK))),
    st.tuples(st.integers(INT64_MIN, INT64_MAX), st.sampled_from((DataType.INTEGER, DataType.TIME))),
    st.tuples(st.integers(0, UINT64_MAX), st.just(DataType.UNSIGNED)),
    st.tuples(st.floats(allow_nan=False), st.just(DataType.FLOAT)),
    st.tuples(st.booleans(), st.just(DataType.BOOLEAN)),
    st.tuples(st.binary(max_size=30), st.just(DataType.OPAQUE)),
    st.tuples(st.builds(ObjectLink, numbers, numbers), st.just(DataType.OBJLNK)),
)
records = st.lists(
    st.builds(lambda path, one, time_ms: Record(path, one[0], one[1], time_ms), paths, typed, times),
    max_size=5,
)
links = st.builds(Link, texts, st.dictionaries(texts, texts, max_size=3))
operations = st.builds(
    Operation,
    kind=st.sampled_from(Kind),
    paths=st.lists(paths, min_size=1, max_size=4).map(tuple),
    records=records.map(tuple),
    arguments=texts,
    attributes=st.dictionaries(st.sampled_from(ATTRIBUTES), st.none() | texts).map(
        lambda d: tuple(d.items())
    ),
    content_format=st.none() | numbers,
)
outcomes = st.builds(
    Outcome,
    code=st.sampled_from(("", "2.05", "4.04")),
    records=records.map(tuple),
    links=st.lists(links, max_size=3).map(tuple),
    location=st.sampled_from(("", "/3303/1")),
    message=texts,
    hint=texts,
)
moments = st.integers(0, INT64_MAX)


class Done:
    """The future of a batch that is carried out in place."""


@given(operations, outcomes, st.sampled_from(Status), moments, moments, st.integers(0, 3))
def test_what_goes_in_comes_out(
    operation: Operation, outcome: Outcome, status: Status, made_ms: int, deadline_ms: int, attempts: int
) -> None:
    kept = EndpointOperation(1, "a", operation, "web", made_ms, made_ms, deadline_ms=deadline_ms)
    after = replace(kept, status=status, attempts=attempts, outcome=outcome)
    with closing(sqlite3.connect(":memory:")) as connection:
        for _, script in schema_files():
            connection.executescript(script)
        connection.execute(
            "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (7, 'a', 1, 1)"
        )
        connection.row_factory = sqlite3.Row
        asked, done = Batch(Done()), Batch(Done())  # type: ignore[arg-type]
        rows.put_operation(asked, 7, kept)
        rows.change_operation(done, after)
        rows.put_attempt(done, Attempt(1, 1, made_ms))
        for batch, expected in ((asked, kept), (done, after)):
            for sql, parameters in batch.statements:
                connection.execute(sql, parameters)
            (row,) = connection.execute(f"{rows.OPERATIONS} WHERE o.id = 1").fetchall()
            assert operation_of(row) == expected
