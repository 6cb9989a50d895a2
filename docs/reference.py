"""Pages of commands, the configuration and the record, from flags, YAML files and the layout."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

from cards import cell, meanings

import tasks
from lra.cli.main import VERBS, main
from lra.core.config import Model, Train
from lra.core.environment import ROOT
from lra.training.record_schema import json_schema

COMMANDS = """# Command line

`python run_lra.py` in a checkout, `lra` where the package is installed. The options of a task and of a mechanism
stand in the help that names them: `python run_lra.py --task listops --attn nystrom --help`.

An exit code of 0 means done, 1 failed, 2 asked for the impossible, 130 stopped by you.
"""
CONFIGURATION = """# Configuration

A run has four parts: its data, the mechanism's options, the model and the training. A preset gives every value. A flag
changes one: `--train.batch-size 64`. `--print-config` prints the result, and `--config FILE` takes it back.
The values of a task's presets stand in `configs/<task>.yaml`, each with its source.
"""
RECORD = """# Record

One finished run is one JSON file under `results/runs`. It says how the run was made, and `command` makes it again.
`results/record.schema.json` is the same layout for programs, written by `python run_lra.py schema`.

"""


def pages() -> dict[str, str]:
    """Every page by its path."""
    return {
        "reference/commands.md": COMMANDS + "".join(_help(verb) for verb in VERBS),
        "reference/configuration.md": CONFIGURATION + _configuration(),
        "reference/record.md": RECORD + _record(json_schema()),
    }


def _help(verb: str) -> str:
    """What the command prints for --help, at 100 columns."""
    os.environ["COLUMNS"] = "100"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*([] if verb == "train" else [verb]), "--help"])
    # The paths of this checkout and what this machine has are no part of the command.
    text = said.getvalue().replace(f"{ROOT}/", "").strip()
    return f"\n## {verb}\n\n```text\n{text}\n```\n"


def _configuration() -> str:
    parts = []
    for kind, prefix in ((Model, "--model."), (Train, "--train.")):
        rows = [f"| `{prefix}{name.replace('_', '-')}` | {text} |" for name, text in meanings(kind).items()]
        parts += [f"\n## {kind.__name__}\n", kind.__doc__ or "", "\n| option | meaning |\n| --- | --- |", *rows]
    for name in tasks.names():
        text = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
        parts += [f"\n## configs/{name}.yaml\n", f"```yaml\n{text}```"]
    return "\n".join(parts) + "\n"


def _record(schema: dict[str, Any]) -> str:
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, value in schema["properties"].items():
        rows.append(f"| `{name}` | {_type(value)} | {cell(value.get('description', ''))} |")
    return "\n".join([schema["description"], "", *rows]) + "\n"


def _type(value: dict[str, Any]) -> str:
    """A field's type in a few words."""
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    kind = value.get("type", "object")
    low = value.get("minimum", value.get("exclusiveMinimum"))
    high = value.get("maximum", value.get("exclusiveMaximum"))
    if kind in ("integer", "number") and low is not None and high is not None and high < 10**6:
        return f"{kind}, {low}–{high}"
    return str(kind)
