"""The layout of a record as JSON Schema (json-schema.org, draft 2020-12), for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lra.core.documents import json_document
from lra.core.files import write_atomically
from lra.core.layout import layout
from lra.training.record import SCHEMA, Record, required

FILE = "record.schema.json"


def json_schema() -> dict[str, Any]:
    """The schema of every version that is read. A record of the newest version must have every field."""
    newest = {
        "if": {"properties": {"schema": {"const": SCHEMA}}},
        "then": {"required": sorted(required(SCHEMA))},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | layout(Record).json_schema() | newest


def write(results: Path) -> Path:
    """Write the schema into the folder of results. Returns its path."""
    path = results / FILE
    write_atomically(json_document(json_schema()), path)
    return path
