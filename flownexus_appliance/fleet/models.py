"""The object models at run time: the registry's, and over them those of a folder of DDF files.

Owns the folder. What is uploaded stands there by itself, one version of one object a file; what an operator
puts there by hand is read at the next start. The whole house holds the one `ModelSet`, which changes in
place. LwM2M Core 1.1.1 appendix D.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final

from ..errors import ApplianceError, UsageError
from ..lwm2m.ddf import MAX_SIZE_BYTES, parse_ddf, split_ddf
from ..lwm2m.model import ModelSet, ObjectDefinition, version_key
from ..pki.files import PUBLIC, make_folder, sync_folder, write_whole

MAX_UPLOADED: Final = 1000
SUFFIX: Final = ".xml"

# What makes two definitions the same: "1.0" and "01.0" are one version.
_Key = tuple[int, tuple[int, int] | None]
_Files = dict[str, tuple[ObjectDefinition, ...]]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UploadedModel:
    """An object definition of the folder, and the name of its file there."""

    definition: ObjectDefinition
    file: str


class Models:
    """Meets `http.ports.Models`. One instance, in the event loop; files are read and written in threads."""

    def __init__(self, folder: FilePath, models: ModelSet) -> None:
        self._folder = folder
        self._models = models
        self._files: _Files = {}
        self._changed: Callable[[], Awaitable[None]] | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Take up what is in the folder. A file that is of no use is told in the log and passed over."""
        self._use(await asyncio.to_thread(_read_folder, self._folder))

    def tell(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Call `changed` whenever other models count, before whoever asked for it has the answer."""
        self._changed = changed

    @property
    def set(self) -> ModelSet:
        """The models as they are now; the same object for as long as the house stands."""
        return self._models

    def uploaded(self) -> Sequence[UploadedModel]:
        """The definitions of the folder, by object id and version."""
        found = {_key(one): UploadedModel(one, name) for name in self._files for one in self._files[name]}
        return [found[key] for key in sorted(found, key=lambda key: (key[0], key[1] or (0, 0)))]

    async def add(self, data: bytes) -> Sequence[UploadedModel]:
        """Take up the definitions of a DDF file, in place of the same versions of the folder.

        They are on disk and in use when this returns. Raises UsageError: ddf_invalid, model_limit;
        ApplianceError("models_unwritable"); and what the one who is told raises: they are in use then.
        """
        async with self._lock:
            parts = await asyncio.to_thread(split_ddf, data)
            new = {_key(definition) for definition, _ in parts}
            others = {_key(one.definition) for one in self.uploaded()} - new
            if len(new) + len(others) > MAX_UPLOADED:
                raise UsageError(
                    "model_limit",
                    f"more than {MAX_UPLOADED} models would be uploaded",
                    "remove some that no device needs any more",
                )
            files = dict(self._files)
            await self._change(files, lambda: _put(self._folder, files, parts))
            log.info("object models added", extra={"MODELS": _listed(new)})
            return [one for one in self.uploaded() if _key(one.definition) in new]

    async def remove(self, object_id: int, version: str) -> None:
        """Take a definition out of the folder; of the registry's own, the same version counts again.

        Raises UsageError("model_unknown"), and as `add`.
        """
        async with self._lock:
            wanted = {(object_id, version_key(version))}
            files = dict(self._files)
            if not any(_key(one) in wanted for definitions in files.values() for one in definitions):
                raise UsageError(
                    "model_unknown",
                    f"no version {version} of object {object_id} was uploaded",
                    "GET models?source=uploaded lists those that were; the registry's own stay",
                )
            await self._change(files, lambda: _drop(self._folder, files, wanted, ()))
            log.info("object model removed", extra={"MODELS": _listed(wanted)})

    async def _change(self, files: _Files, change: Callable[[], None]) -> None:
        """Do something to the files; whatever comes of it, what is on disk is what is in use."""
        try:
            await asyncio.to_thread(change)
        except OSError as error:
            raise ApplianceError(
                "models_unwritable",
                f"cannot change the folder of models: {error.strerror or error}",
                f"make room, or make {self._folder.name} in the state folder writable",
            ) from error
        finally:
            self._use(files)
        if self._changed is not None:
            await self._changed()

    def _use(self, files: _Files) -> None:
        self._files = dict(sorted(files.items()))
        self._models.overlay(one.definition for one in self.uploaded())


def _key(definition: ObjectDefinition) -> _Key:
    return definition.object_id, version_key(definition.version)


def _listed(keys: Iterable[_Key]) -> str:
    return " ".join(f"{number}/{'.'.join(map(str, version or ()))}" for number, version in sorted(keys))


# In threads


def _read_folder(folder: FilePath) -> _Files:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and path.is_file())
    except FileNotFoundError:
        return {}
    except OSError as error:
        _warn(folder.name, "models_unreadable", str(error.strerror))
        return {}
    files: _Files = {}
    for path in paths:
        try:
            files[path.name] = parse_ddf(_read(path))
        except OSError as error:
            _warn(path.name, "models_unreadable", str(error.strerror))
        except UsageError as error:
            _warn(path.name, error.code, error.message)
    return files


def _read(path: FilePath) -> bytes:
    """A file, up to a byte more than a DDF file may have; raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_SIZE_BYTES + 1)


def _warn(name: str, code: str, reason: str) -> None:
    log.warning("object model not usable", extra={"FILE": name, "ERROR_CODE": code, "REASON": reason})


def _put(folder: FilePath, files: _Files, parts: Sequence[tuple[ObjectDefinition, bytes]]) -> None:
    """Write definitions to files of their own, then take them out of all others; `files` is kept true.

    In this order a power cut leaves a definition twice, never not at all. Raises OSError.
    """
    make_folder(folder)
    names = []
    for definition, text in parts:
        name = _name(files, definition)
        write_whole(folder / name, text, PUBLIC)
        files[name] = (definition,)
        names.append(name)
    _drop(folder, files, {_key(definition) for definition, _ in parts}, names)


def _drop(folder: FilePath, files: _Files, unwanted: Collection[_Key], kept: Collection[str]) -> None:
    """Take definitions out of all files but those `kept`; raises OSError.

    What else stood in a file gets files of its own. A file that was made unusable by hand since it was read
    counts no longer, as after the next start, and stays for its owner to mend.
    """
    for name in [name for name in files if name not in kept]:
        if all(_key(one) not in unwanted for one in files[name]):
            continue
        try:
            parts = split_ddf(_read(folder / name))
        except FileNotFoundError:
            parts = ()
        except UsageError as error:
            _warn(name, error.code, error.message)
            del files[name]
            continue
        for definition, text in parts:
            if _key(definition) not in unwanted:
                own = _name(files, definition)
                write_whole(folder / own, text, PUBLIC)
                files[own] = (definition,)
        (folder / name).unlink(missing_ok=True)
        del files[name]
    sync_folder(folder)


def _name(files: _Files, definition: ObjectDefinition) -> str:
    """The name of a definition's own file; another one where a file put there by hand has taken it."""
    stem = f"{definition.object_id}-{definition.version}"
    name, number = stem + SUFFIX, 1
    while any(_key(one) != _key(definition) for one in files.get(name, ())):
        number += 1
        name = f"{stem}-{number}{SUFFIX}"
    return name
