"""The object tree: what may be read, written, created and deleted, and what is refused how."""

from collections.abc import Callable

import pytest

from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value, natural_type
from flownexus_appliance.sim.messages import Code
from flownexus_appliance.sim.objects import ObjectTree, RefusedError
from flownexus_appliance.sim.profile import definitions


@pytest.fixture
def tree() -> ObjectTree:
    made = ObjectTree(definitions("1.1"), frozenset({(3, 4)}), frozenset({19}))
    made.add(1, 0, {0: 101, 1: 300, 2: 0, 6: True, 7: "U"})
    made.add(3, 0, {0: "FlowNexus", 7: {0: 3700, 1: 5000}, 9: 80, 11: {0: 0}, 13: 0, 14: "+00:00", 16: "U"})
    made.add(5, 0, {0: b"", 1: "", 3: 0, 5: 0, 9: 2})
    return made


def p(text: str) -> Path:
    return Path.parse(text)


def record(tree: ObjectTree, path: str, value: Value) -> Record:
    return Record(p(path), value, tree.type_of(p(path)) or natural_type(value))


def refused(action: Callable[[], object]) -> Code:
    with pytest.raises(RefusedError) as caught:
        action()
    return caught.value.code


def values(records: tuple[Record, ...]) -> dict[str, Value]:
    return {str(r.path): r.value for r in records}


def test_reading_goes_by_level_in_order_and_leaves_out_what_cannot_be_read(tree: ObjectTree) -> None:
    device = {
        "/3/0/0": "FlowNexus",
        "/3/0/7/0": 3700,
        "/3/0/7/1": 5000,
        "/3/0/9": 80,
        "/3/0/11/0": 0,
        "/3/0/13": 0,
        "/3/0/14": "+00:00",
        "/3/0/16": "U",
    }
    assert values(tree.read(p("/3"))) == values(tree.read(p("/3/0"))) == device
    assert list(values(tree.read(p("/3/0")))) == list(device)
    assert values(tree.read(p("/3/0/7"))) == {"/3/0/7/0": 3700, "/3/0/7/1": 5000}
    assert values(tree.read(p("/3/0/7/1"))) == {"/3/0/7/1": 5000}
    # The package is write only: an instance read passes over it.
    assert list(values(tree.read(p("/5")))) == ["/5/0/1", "/5/0/3", "/5/0/5", "/5/0/9"]
    whole = list(values(tree.read(Path.ROOT)))
    assert whole[0] == "/1/0/0"
    assert whole[-1] == "/5/0/9"
    assert tree.read(p("/3/0/9"))[0].data_type is DataType.INTEGER


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/0", Code.UNAUTHORIZED),
        ("/0/0/1", Code.UNAUTHORIZED),
        ("/21", Code.UNAUTHORIZED),
        ("/7", Code.NOT_FOUND),
        ("/3/1", Code.NOT_FOUND),
        ("/3/0/99", Code.NOT_FOUND),
        ("/3/0/1", Code.NOT_FOUND),  # in the model, but this device has none
        ("/3/0/7/9", Code.NOT_FOUND),
        ("/3/0/9/0", Code.NOT_FOUND),
        ("/3/0/5", Code.NOT_FOUND),  # executable in the model, not on this device
        ("/3/0/4", Code.METHOD_NOT_ALLOWED),
        ("/5/0/0", Code.METHOD_NOT_ALLOWED),
    ],
)
def test_what_cannot_be_read(tree: ObjectTree, path: str, code: Code) -> None:
    assert refused(lambda: tree.read(p(path))) == code


def test_several_paths_are_read_once_each_and_missing_ones_left_out(tree: ObjectTree) -> None:
    found = tree.read_all([p("/3/0/9"), p("/7"), p("/3/0/9"), p("/1/0/1"), p("/3/0/4")])
    assert values(found) == {"/3/0/9": 80, "/1/0/1": 300}
    assert refused(lambda: tree.read_all([p("/7"), p("/3/0/4")])) == Code.NOT_FOUND


def test_a_partial_update_leaves_the_rest(tree: ObjectTree) -> None:
    written = tree.write(p("/1/0"), (record(tree, "/1/0/1", 60), record(tree, "/1/0/3", 20)), replace=False)
    assert written == (p("/1/0/1"), p("/1/0/3"))
    assert tree.get(p("/1/0/1")) == 60
    assert tree.get(p("/1/0/2")) == 0
    assert tree.get(p("/1/0/3")) == 20  # optional, writable and new


def test_a_replacement_removes_what_is_optional_and_writable(tree: ObjectTree) -> None:
    tree.write(p("/1/0"), (record(tree, "/1/0/1", 60),), replace=True)
    assert values(tree.read(p("/1/0"))) == {"/1/0/0": 101, "/1/0/1": 60, "/1/0/6": True, "/1/0/7": "U"}


@pytest.mark.parametrize(
    ("target", "path", "value", "code"),
    [
        ("/3/0/9", "/3/0/9", 70, Code.METHOD_NOT_ALLOWED),
        ("/3/0/4", "/3/0/4", 1, Code.METHOD_NOT_ALLOWED),
        ("/3/0/15", "/3/0/15", "UTC", Code.NOT_FOUND),
        ("/3", "/3/0/14", "+01:00", Code.METHOD_NOT_ALLOWED),
        ("/3/0/14", "/3/0/13", 5, Code.BAD_REQUEST),
        ("/3/0/14", "/3/0/14/0", "+01:00", Code.BAD_REQUEST),
        ("/3/0", "/3/0/99", 5, Code.NOT_FOUND),
        ("/0/0", "/0/0/0", "coap://x", Code.UNAUTHORIZED),
    ],
)
def test_what_cannot_be_written(tree: ObjectTree, target: str, path: str, value: Value, code: Code) -> None:
    before = tree.read(Path.ROOT)
    assert refused(lambda: tree.write(p(target), (record(tree, path, value),), replace=True)) == code
    assert tree.read(Path.ROOT) == before


def test_a_value_of_another_type_is_refused(tree: ObjectTree) -> None:
    wrong = Record(p("/1/0/1"), "soon", DataType.STRING)
    assert refused(lambda: tree.write(p("/1/0/1"), (wrong,), replace=True)) == Code.BAD_REQUEST


def test_a_write_is_all_or_nothing(tree: ObjectTree) -> None:
    both = (record(tree, "/1/0/1", 60), record(tree, "/3/0/9", 5))
    assert refused(lambda: tree.write_all(both)) == Code.METHOD_NOT_ALLOWED
    assert tree.get(p("/1/0/1")) == 300
    assert refused(lambda: tree.write_all((record(tree, "/1/5/1", 60),))) == Code.NOT_FOUND
    tree.write_all((record(tree, "/1/0/1", 60), record(tree, "/3/0/14", "+02:00")))
    assert (tree.get(p("/1/0/1")), tree.get(p("/3/0/14"))) == (60, "+02:00")


def test_instances_are_created_and_deleted_where_the_object_allows_it(tree: ObjectTree) -> None:
    def data(instance: int) -> tuple[Record, ...]:
        return (record(tree, f"/19/{instance}/0/0", b"a"), record(tree, f"/19/{instance}/1", 3))

    assert tree.create(19, 4, data(4)) == 4
    assert tree.create(19, None, data(0)) == 0
    assert tree.free_instance(19) == 1
    assert values(tree.read(p("/19/4"))) == {"/19/4/0/0": b"a", "/19/4/1": 3}
    assert refused(lambda: tree.create(19, 4, data(4))) == Code.BAD_REQUEST
    assert refused(lambda: tree.create(19, 7, (record(tree, "/19/7/1", 3),))) == Code.BAD_REQUEST
    assert refused(lambda: tree.create(3, 1, ())) == Code.METHOD_NOT_ALLOWED
    assert refused(lambda: tree.create(77, 1, ())) == Code.NOT_FOUND
    tree.delete(p("/19/4"))
    assert refused(lambda: tree.read(p("/19/4"))) == Code.NOT_FOUND
    assert refused(lambda: tree.delete(p("/3/0"))) == Code.METHOD_NOT_ALLOWED
    assert refused(lambda: tree.delete(p("/19"))) == Code.METHOD_NOT_ALLOWED
    assert refused(lambda: tree.delete(p("/3/0/14"))) == Code.METHOD_NOT_ALLOWED


def test_resource_instances_are_written_replaced_and_deleted(tree: ObjectTree) -> None:
    tree.create(19, 0, (record(tree, "/19/0/0/0", b"a"), record(tree, "/19/0/0/1", b"b")))
    tree.write(p("/19/0/0"), (record(tree, "/19/0/0/2", b"c"),), replace=False)
    assert values(tree.read(p("/19/0/0"))) == {"/19/0/0/0": b"a", "/19/0/0/1": b"b", "/19/0/0/2": b"c"}
    tree.write(p("/19/0/0/1"), (record(tree, "/19/0/0/1", b"B"),), replace=True)
    tree.delete(p("/19/0/0/0"))
    assert values(tree.read(p("/19/0/0"))) == {"/19/0/0/1": b"B", "/19/0/0/2": b"c"}
    tree.write(p("/19/0/0"), (record(tree, "/19/0/0/9", b"z"),), replace=True)
    assert values(tree.read(p("/19/0/0"))) == {"/19/0/0/9": b"z"}


def test_execute_needs_what_this_device_can_do(tree: ObjectTree) -> None:
    tree.require_executable(p("/3/0/4"))
    assert refused(lambda: tree.require_executable(p("/3/0/5"))) == Code.NOT_FOUND
    assert refused(lambda: tree.require_executable(p("/3/0/9"))) == Code.METHOD_NOT_ALLOWED
    assert refused(lambda: tree.require_executable(p("/3/0"))) == Code.METHOD_NOT_ALLOWED


def test_put_tells_whether_the_value_changed(tree: ObjectTree) -> None:
    assert tree.put(p("/3/0/9"), 79)
    assert not tree.put(p("/3/0/9"), 79)
    assert tree.put(p("/3/0/7/0"), 3699)
    assert not tree.put(p("/3/0/7/0"), 3699)
