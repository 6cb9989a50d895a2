"""The layout of a record as JSON Schema (json-schema.org, draft 2020-12), for readers from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.core.documents import json_document
from lra.core.files import write_atomically
from lra.training.record import SCHEMA, Record, required

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE = "record.schema.json"


def adapter() -> TypeAdapter[Record]:
    """What pydantic makes of Record: types, ranges and the text under each field; no field is unknown."""
    from pydantic import ConfigDict, TypeAdapter, with_config  # 0.2 s, which other commands do without

    strict = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    return TypeAdapter(with_config(strict)(Record))


def json_schema() -> dict[str, Any]:
    """The schema: of every version that is read; the newest one has to have every field."""
    newest = {
        "if": {"properties": {"schema": {"const": SCHEMA}}},
        "then": {"required": sorted(required(SCHEMA))},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | adapter().json_schema() | newest


def write(results: Path) -> Path:
    """Write the schema under results; its path."""
    path = results / FILE
    write_atomically(json_document(json_schema()), path)
    return path
