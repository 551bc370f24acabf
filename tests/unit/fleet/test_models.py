"""Object models at run time: in use at once, kept over a restart, whatever lies in the folder."""

import logging
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.store import Store
from flownexus_appliance.errors import ApplianceError, UsageError
from flownexus_appliance.fleet import models as models_module
from flownexus_appliance.fleet.models import Models
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.model import ModelSet, ObjectDefinition, ObjectEntry
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.lwm2m.values import DataType, Record
from flownexus_appliance.pki.files import write_whole
from tests import box

from .conftest import House

MOISTURE = Path.of(33010, 0, 7)
NOW_MS = 1_795_000_000_000


def an_object(
    object_id: int = 33010, version: str = "1.0", name: str = "Soil", data_type: str = "Float"
) -> str:
    return (
        f"<Object><Name>{name}</Name><ObjectID>{object_id}</ObjectID><ObjectVersion>{version}</ObjectVersion>"
        "<LWM2MVersion>1.0</LWM2MVersion><MultipleInstances>Multiple</MultipleInstances>"
        '<Mandatory>Optional</Mandatory><Resources><Item ID="7"><Name>Moisture</Name>'
        "<Operations>R</Operations><MultipleInstances>Single</MultipleInstances>"
        f"<Mandatory>Optional</Mandatory><Type>{data_type}</Type><RangeEnumeration/><Units>/100</Units></Item>"
        "</Resources></Object>"
    )


def ddf(*objects: str) -> bytes:
    return f"<LWM2M>{''.join(objects or [an_object()])}</LWM2M>".encode()


def named(models: Models) -> list[tuple[int, str, str, str]]:
    """What was uploaded: object, version, name, file."""
    return [
        (one.definition.object_id, one.definition.version, one.definition.name, one.file)
        for one in models.uploaded()
    ]


def files(folder: FilePath) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def put(folder: FilePath, name: str, data: bytes) -> None:
    """As an operator does by hand."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


@pytest.fixture
def folder(tmp_path: FilePath) -> FilePath:
    return tmp_path / "models"


@pytest.fixture
async def models(folder: FilePath) -> Models:
    return await started(folder)


async def started(folder: FilePath) -> Models:
    models = Models(folder, load_registry())
    await models.start()
    return models


async def test_what_is_uploaded_is_in_use_at_once(models: Models) -> None:
    held, types = models.set, models.set.with_versions({33010: "1.0", 3303: "1.1"})
    payload = b"21"
    decode = partial(codecs.decode, ContentFormat.TEXT, payload, base=MOISTURE, types=types, now_ms=NOW_MS)
    (before,) = decode()
    assert before.data_type is not DataType.FLOAT
    (added,) = await models.add(ddf())
    assert (added.definition.name, added.file) == ("Soil", "33010-1.0.xml")
    (after,) = decode()
    assert (after.value, after.data_type) == (21.0, DataType.FLOAT)
    assert models.set is held
    assert held.object(33010) == added.definition
    await models.remove(33010, "1.0")
    assert held.object(33010) is None
    assert decode() == (before,)


async def test_the_next_value_of_a_device_is_typed_and_named_by_an_upload(
    house: House, folder: FilePath
) -> None:
    models = Models(folder, box.models())  # the very set that the house stands on
    models.tell(house.store.describe_again)
    await house.register(links=b"</33010>;ver=1.0,</33010/0>")
    await house.outcome(house.send_request({str(MOISTURE): 21}))
    assert described(house.path) == [("Resource 7", "integer", "")]
    await models.add(ddf())
    try:
        await house.outcome(house.send_request({str(MOISTURE): 22}))
        assert described(house.path) == [("Moisture", "float", "/100")]
    finally:
        await models.remove(33010, "1.0")
    told = [value for event in house.told.bus if event.name == "values" for value in event.data["values"]]
    assert [(value["value"], value["data_type"]) for value in told] == [(21, "integer"), (22.0, "float")]
    assert isinstance(told[1]["value"], float)


async def test_what_is_uploaded_is_there_after_a_restart(models: Models, folder: FilePath) -> None:
    await models.add(ddf(an_object(33011)))
    await models.add(ddf(an_object(3303, "9.0", "Our temperature")))
    again = await started(folder)
    assert named(again) == named(models)
    assert named(again) == [
        (3303, "9.0", "Our temperature", "3303-9.0.xml"),
        (33011, "1.0", "Soil", "33011-1.0.xml"),
    ]
    assert again.set.names() == models.set.names()
    newest = again.set.object(3303)
    assert newest is not None
    assert newest.name == "Our temperature"
    registered = again.set.object(3303, "1.1")
    assert registered is not None
    assert registered.name == "Temperature"


async def test_a_file_stands_as_it_was_uploaded(models: Models, folder: FilePath) -> None:
    data = b"<!-- ours -->" + ddf()
    await models.add(data)
    assert (folder / "33010-1.0.xml").read_bytes() == data
    assert files(folder) == {"33010-1.0.xml"}


@pytest.mark.parametrize("version", ["1.0", "01.0"])
async def test_the_same_version_again_takes_its_place(models: Models, folder: FilePath, version: str) -> None:
    await models.add(ddf())
    await models.add(ddf(an_object(version=version, name="Mended")))
    assert named(models) == [(33010, version, "Mended", f"33010-{version}.xml")]
    assert files(folder) == {f"33010-{version}.xml"}
    await models.remove(33010, "1.0")
    assert (named(models), files(folder)) == ([], set())


async def test_versions_stand_beside_each_other(models: Models) -> None:
    for version in ("2.0", "1.10", "1.9"):
        await models.add(ddf(an_object(version=version)))
    assert [version for _, version, _, _ in named(models)] == ["1.9", "1.10", "2.0"]
    assert models.set.versions(33010) == ("1.9", "1.10", "2.0")
    await models.remove(33010, "2.0")
    assert models.set.versions(33010) == ("1.9", "1.10")


async def test_a_file_of_several_objects_becomes_a_file_each(models: Models, folder: FilePath) -> None:
    added = await models.add(ddf(an_object(33012), an_object(33011), an_object(33012, "1.1")))
    assert [one.file for one in added] == ["33011-1.0.xml", "33012-1.0.xml", "33012-1.1.xml"]
    assert files(folder) == {one.file for one in added}
    await models.remove(33012, "1.0")
    again = await started(folder)
    assert named(again) == named(models)
    assert [one[:2] for one in named(again)] == [(33011, "1.0"), (33012, "1.1")]


async def test_what_lies_in_the_folder_is_taken_up(folder: FilePath) -> None:
    put(folder, "ours.xml", ddf(an_object(33010), an_object(33011)))
    put(folder, "readme.txt", b"no model")
    models = await started(folder)
    assert [(one[0], one[3]) for one in named(models)] == [(33010, "ours.xml"), (33011, "ours.xml")]
    # An upload takes one of them out of the file; what else is in there stays.
    await models.add(ddf(an_object(33010, name="Newer")))
    assert named(models) == [
        (33010, "1.0", "Newer", "33010-1.0.xml"),
        (33011, "1.0", "Soil", "33011-1.0.xml"),
    ]
    assert files(folder) == {"33010-1.0.xml", "33011-1.0.xml", "readme.txt"}
    assert named(await started(folder)) == named(models)


async def test_a_name_that_is_taken_by_hand_is_not_written_over(folder: FilePath) -> None:
    put(folder, "33010-1.0.xml", ddf(an_object(33011)))
    models = await started(folder)
    await models.add(ddf())
    assert named(models) == [
        (33010, "1.0", "Soil", "33010-1.0-2.xml"),
        (33011, "1.0", "Soil", "33010-1.0.xml"),
    ]
    assert named(await started(folder)) == named(models)


async def test_a_version_that_stands_twice_goes_from_both(folder: FilePath) -> None:
    for name in ("a.xml", "b.xml"):
        put(folder, name, ddf(an_object(name=name)))
    models = await started(folder)
    assert named(models) == [(33010, "1.0", "b.xml", "b.xml")]
    await models.remove(33010, "1.0")
    assert (named(models), files(folder)) == ([], set())


async def test_a_broken_file_is_told_and_passed_over(
    folder: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "broken.xml", ddf()[:-9])
    put(folder, "good.xml", ddf())
    (folder / "gone.xml").symlink_to("nowhere")
    put(folder, "huge.xml", ddf() + b" " * 2**20)
    put(folder / "folder.xml", "inside.xml", ddf())
    with caplog.at_level(logging.WARNING):
        models = await started(folder)
    assert [one[3] for one in named(models)] == ["good.xml"]
    told = [
        (record.message, record.__dict__["FILE"], record.__dict__["ERROR_CODE"]) for record in caplog.records
    ]
    assert told == [
        ("object model not usable", "broken.xml", "ddf_invalid"),
        ("object model not usable", "huge.xml", "ddf_invalid"),
    ]


async def test_a_folder_that_cannot_be_read_is_told(
    folder: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder.parent, folder.name, b"a file in its place")
    models = await started(folder)
    assert models.uploaded() == []
    assert [record.__dict__["ERROR_CODE"] for record in caplog.records] == ["models_unreadable"]
    with pytest.raises(ApplianceError) as caught:
        await models.add(ddf())
    assert caught.value.code == "models_unwritable"
    assert models.set.object(33010) is None


async def test_a_file_broken_by_hand_since_then_stays_for_its_owner(folder: FilePath) -> None:
    put(folder, "ours.xml", ddf(an_object(33010), an_object(33011)))
    put(folder, "other.xml", ddf(an_object(33010)))
    models = await started(folder)
    put(folder, "ours.xml", b"<LWM2M>")
    (folder / "other.xml").unlink()
    await models.remove(33010, "1.0")
    assert (named(models), files(folder)) == ([], {"ours.xml"})


async def test_what_is_no_ddf_changes_nothing(models: Models, folder: FilePath) -> None:
    await models.add(ddf())
    for data in (b"", ddf()[:-9], ddf(an_object(), an_object()), ddf() + b" " * 2**20):
        with pytest.raises(UsageError) as caught:
            await models.add(data)
        assert caught.value.code == "ddf_invalid"
    assert [one[0] for one in named(models)] == [33010]
    assert files(folder) == {"33010-1.0.xml"}


@pytest.mark.parametrize(("object_id", "version"), [(3303, "1.1"), (33010, "1.1"), (33010, "x"), (9, "1.0")])
async def test_only_what_was_uploaded_can_be_removed(models: Models, object_id: int, version: str) -> None:
    await models.add(ddf())
    with pytest.raises(UsageError) as caught:
        await models.remove(object_id, version)
    assert caught.value.code == "model_unknown"
    assert [one[0] for one in named(models)] == [33010]


async def test_there_is_a_limit(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_module, "MAX_UPLOADED", 2)
    await models.add(ddf(an_object(33010), an_object(33011)))
    with pytest.raises(UsageError) as caught:
        await models.add(ddf(an_object(33012)))
    assert caught.value.code == "model_limit"
    await models.add(ddf(an_object(33011, name="Mended")))
    assert [one[2] for one in named(models)] == ["Soil", "Mended"]


async def test_a_disk_that_is_full_half_way_leaves_what_is_true(
    models: Models, folder: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: FilePath, content: bytes, mode: int) -> None:
        if path.name.startswith("33011"):
            raise OSError(28, "No space left on device")
        write_whole(path, content, mode)

    monkeypatch.setattr("flownexus_appliance.fleet.models.write_whole", full)
    with pytest.raises(ApplianceError) as caught:
        await models.add(ddf(an_object(33010), an_object(33011)))
    assert caught.value.code == "models_unwritable"
    assert "No space left" in caught.value.message
    assert named(models) == [(33010, "1.0", "Soil", "33010-1.0.xml")]
    assert models.set.object(33010) is not None
    assert models.set.object(33011) is None
    assert named(await started(folder)) == named(models)


# What the file of samples calls a resource


def described(path: FilePath) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, data_type, units FROM resource_type ORDER BY id").fetchall()


async def test_samples_of_before_are_named_by_what_comes(models: Models, tmp_path: FilePath) -> None:
    path = tmp_path / "flownexus.db"
    store = Store(path, partial(describe, models.set))
    await store.start()
    try:

        async def changed() -> None:
            await store.describe_again()

        models.tell(changed)
        store.add_samples("a", [Record(MOISTURE, 21, DataType.INTEGER, NOW_MS)], NOW_MS)
        store.add_samples("a", [Record(Path.of(3303, 0, 5700), 2.0, DataType.FLOAT, NOW_MS)], NOW_MS)
        await store.commit()
        temperature = ("Sensor Value", "float", "")
        assert described(path) == [("Resource 7", "integer", ""), temperature]
        await models.add(ddf())
        assert described(path) == [("Moisture", "float", "/100"), temperature]
        await models.remove(33010, "1.0")
        assert described(path) == [("Resource 7", "float", ""), temperature]
    finally:
        await store.stop()


async def test_models_put_there_while_the_box_was_off_name_samples_of_before(
    folder: FilePath, tmp_path: FilePath
) -> None:
    path = tmp_path / "flownexus.db"
    for wanted in ("Resource 7", "Moisture"):
        models = await started(folder)
        store = Store(path, partial(describe, models.set))
        await store.start()
        store.add_samples("a", [Record(MOISTURE, 21, DataType.INTEGER, NOW_MS)], NOW_MS)
        await store.stop()
        assert [row[0] for row in described(path)] == [wanted]
        put(folder, "ours.xml", ddf())


async def test_a_disk_that_refuses_the_names_is_told_and_the_model_in_use(models: Models) -> None:
    async def changed() -> None:
        raise StoreError("store_failed", "the disk is gone", "look at it")

    models.tell(changed)
    with pytest.raises(StoreError):
        await models.add(ddf())
    assert models.set.object(33010) is not None


async def test_an_empty_house_has_no_models_of_its_own(folder: FilePath) -> None:
    definition = ObjectDefinition(1, "1.0", "1.0", "Server", True, True, {})
    models = Models(folder, ModelSet([ObjectEntry.of(definition)]))
    await models.start()
    assert models.uploaded() == []
    assert models.set.names() == ((1, "Server"),)
    assert files(folder) == set()
