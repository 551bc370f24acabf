"""Values as they are typed on a command line, made into what the API takes.

`5` is a number to an integer and a text to a string: the object model of the device decides. What does not
fit goes to the daemon as it was typed, which says what it wanted.
"""

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from ..errors import ApplianceError, UsageError, clean
from ..lwm2m.paths import Path
from ..lwm2m.values import DataType
from .console import Console, Refused, below

WHOLE: Final = frozenset({DataType.INTEGER, DataType.UNSIGNED, DataType.TIME})
# As text/plain of LwM2M has them too (LwM2M Core 1.1.1 appendix C).
TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def pairs(words: Sequence[str], example: str) -> list[tuple[str, str]]:
    """Read NAME=VALUE NAME=VALUE; raises UsageError("words_invalid")."""
    found = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError("words_invalid", f"{clean(word, 40)} has no equals sign", f"write {example}")
        found.append((name, text))
    return found


def by_path(found: Sequence[tuple[Path, str]]) -> dict[Path, str]:
    """Texts by path; raises UsageError("words_invalid") where one has two."""
    texts = dict(found)
    if len(texts) < len(found):
        raise UsageError("words_invalid", "a path stands twice", "give each path once")
    return texts


def parse_path(text: str) -> Path:
    """Raises UsageError("path_invalid")."""
    return Path.parse(text, UsageError)


def path_argument(text: str) -> Path:
    """The `type` of an argument that is a path."""
    try:
        return parse_path(text)
    except ApplianceError as error:
        raise argparse.ArgumentTypeError(f"{error.message}: {error.hint}") from None


class Values:
    """Makes values for one device, asking the daemon once for each object model it needs."""

    def __init__(self, box: Console, endpoint: str, wanted: str | None) -> None:
        """`wanted` is the data type to take where no model knows the resource, None for what JSON says."""
        self._box = box
        self._endpoint = endpoint
        self._wanted = None if wanted is None else DataType(wanted)
        self._versions: dict[int, str] | None = None
        self._models: dict[int, dict[int, Any]] = {}

    def make(self, path: Path, text: str) -> object:
        """The JSON of a value for a resource or a resource instance."""
        resource = self._model(path[0]).get(path[2]) if len(path) > 2 else None
        data_type = DataType.NONE if resource is None else DataType(resource["data_type"])
        if resource is None or data_type is DataType.NONE:
            return typed(text, self._wanted) if self._wanted is not None else natural(text)
        if resource["multiple"] and len(path) == 3 and (several := _object(text)) is not None:
            return {
                number: typed(value, data_type) if isinstance(value, str) else value
                for number, value in several.items()
            }
        return typed(text, data_type)

    def _model(self, object_id: int) -> dict[int, Any]:
        """The resources of an object by the version that the device has registered; {} of an unknown one."""
        if object_id not in self._models:
            if self._versions is None:
                self._versions = self._registered()
            # A version that no model is of is read by the newest: minor versions only add.
            versions = dict.fromkeys((self._versions.get(object_id, ""), ""))
            resources = next(filter(None, (self._resources(object_id, version) for version in versions)), [])
            self._models[object_id] = {one["resource_id"]: one for one in resources}
        return self._models[object_id]

    def _resources(self, object_id: int, version: str) -> list[Any]:
        """Those of a model, "" for the newest; none where there is no such model."""
        try:
            found: list[Any] = self._box.get(f"/models/{object_id}", version=version)["resources"]
        except Refused:
            return []
        return found

    def _registered(self) -> dict[int, str]:
        registration = self._box.get(below("endpoints", self._endpoint))["registration"]
        objects = registration["objects"] if registration is not None else {}
        return {int(number): entry.get("version") or "" for number, entry in objects.items()}


def typed(text: str, data_type: DataType) -> object:
    """The text as a value of a data type; as it is where it is none, for the daemon to refuse."""
    if data_type in WHOLE and _WHOLE.fullmatch(text):
        return int(text)
    if data_type is DataType.FLOAT and _DECIMAL.fullmatch(text):
        return _number(text)
    if data_type is DataType.BOOLEAN:
        return TRUTHS.get(text.lower(), text)
    return text


def natural(text: str) -> object:
    """The text as the JSON that it is, where that is a number, a truth or an object; else as a text."""
    if text in ("true", "false"):
        return TRUTHS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return _number(text)
    several = _object(text)
    return text if several is None else several


def _number(text: str) -> object:
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number  # JSON has no infinity


def _object(text: str) -> dict[str, Any] | None:
    """A JSON object of resource instances, {"0": 1, "5": 2}; None for any other text."""
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
