"""The OMA registry's objects as package data.

`objects.tsv` is written by `make registry` from the registry's facts; its form is in `table.py`.
Reading this one file is the only I/O under `lwm2m/`, once, when `load_registry` is called.
"""

from importlib.resources import files
from typing import Final

from ..model import ModelSet
from .table import decode_table

_TABLE: Final = "objects.tsv"


def load_registry() -> ModelSet:
    """All objects of the registry, in all their versions, each parsed when first asked for."""
    return ModelSet(decode_table(files(__name__).joinpath(_TABLE).read_text("utf-8")))
