"""The first reading of the arguments: what is trained decides which options there are to read.

Two passes: this one reads --task, --attn, --preset, --backend and --config; the second, tyro's, reads every field of
the configuration that results, so that --help shows the chosen mechanism's own options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import attention_impls
import tasks
from lra.core.config import Run, as_dict, from_dict, resolve
from lra.core.documents import read_json, read_yaml
from lra.core.errors import UserError
from lra.core.frameworks import usual
from lra.core.spec import Spec, parse_specs
from lra.terminal.arguments import read_device

SHOWN = {"task": "pathfinder", "attn": "elfatt"}  # whose options --help shows where none are named
Switch = tyro.conf.FlagCreatePairsOff[bool]
TaskName = Annotated[str, tyro.conf.arg(metavar="|".join(tasks.names()))]


@dataclass(frozen=True)
class Chosen:
    """What the command names, or None where it is silent."""

    task: str | None
    attn: str | None
    preset: str | None
    backend: str | None
    device: str | None
    devices: str | None
    config: Path | None
    print_config: bool
    help: bool

    @classmethod
    def of(cls, argv: Sequence[str]) -> Chosen:
        """From the command line; flags that this does not know are tyro's."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        for name in ("task", "attn", "preset", "backend", "device", "devices"):
            parser.add_argument(f"--{name}")
        parser.add_argument("--config", type=Path)
        parser.add_argument("--print-config", action="store_true")
        parser.add_argument("-h", "--help", action="store_true")
        try:
            return cls(**vars(parser.parse_known_args(argv)[0]))
        except argparse.ArgumentError as error:
            raise UserError(str(error)) from error

    def require(self, *names: str) -> None:
        """UserError for the first of "task" and "attn" that is wanted and not named; --help goes without."""
        known: dict[str, Callable[[], list[str]]] = {"task": tasks.names, "attn": attention_impls.names}
        for name in names:
            if getattr(self, name) is None and self.config is None and not self.help:
                raise UserError(f"--{name} is missing: choose one of {', '.join(known[name]())}, or see --help")

    def specs(self) -> tuple[Spec | None, ...]:
        """The mechanisms that --attn names; None stands for that of --config, or of the help."""
        return (None,) if self.attn is None else parse_specs(self.attn)

    def run(self, spec: Spec | None) -> tuple[Run, str]:
        """The configuration before the second pass, and why its preset was chosen where the user chose none."""
        if self.config is not None:
            return self._from_file(self.config, spec), f", from {self.config}"
        preset, why = self.preset, ""
        backend: Any = self.backend or usual()
        if preset is None:
            preset, why = ("standard", " (a GPU is here)") if self._on_gpu(backend) else ("quick", " (no GPU)")
        attn = spec or Spec(SHOWN["attn"])
        return resolve(self.task or SHOWN["task"], attn, backend=backend, preset=preset), why

    def _on_gpu(self, backend: str) -> bool:
        if self.help:
            return False
        from lra.backends import on_gpu, require_devices  # --help needs none of it

        device = None if self.device is None else read_device(self.device)
        if self.devices and self.devices.isdecimal():  # else tyro says what is wrong
            require_devices(backend, device, int(self.devices))
        return on_gpu(backend, device)

    def _from_file(self, path: Path, spec: Spec | None) -> Run:
        """A run from --print-config's YAML or a record's JSON; flags may repeat what it says, not contradict it."""
        values: Any = read_json(path) if path.suffix == ".json" else read_yaml(path)
        values = values.get("config", values) if isinstance(values, dict) else values
        if self.print_config and spec is None:
            _require_no_code(values, path)
        run = from_dict(values, str(path))
        named = {"task": self.task, "attn": None if spec is None else spec.name, "preset": self.preset}
        for name, given in named.items():
            if given not in (None, getattr(run, name)):
                raise UserError(f"--{name} {given} and --config {path} ({getattr(run, name)}) exclude each other")
        if spec is None or not spec.options:
            return run
        values = as_dict(run)
        return from_dict({**values, "options": {**values["options"], **spec.options}}, f"--attn {spec}")


def _require_no_code(values: Any, path: Path) -> None:
    """UserError for a configuration that names a folder: printing somebody's file shall not run what it names."""
    attn = values.get("attn") if isinstance(values, dict) else None
    if isinstance(attn, str) and "/" in attn:
        raise UserError(
            f"{path} names {attn}, whose options are code, and --print-config runs none that a file names: "
            f"add --attn {attn} if you trust it"
        )
