"""The first pass over the arguments of `train` and `data`.

The task and the mechanism decide which other options exist. So this pass reads --task, --attn, --preset, --backend and
--config. The second pass, by tyro, reads every field of the configuration. So --help shows the mechanism's options.
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
from lra.terminal.arguments import read_device, whole

SHOWN = {"task": "pathfinder", "attn": "elfatt"}  # --help shows their options if the user names none
Switch = tyro.conf.FlagCreatePairsOff[bool]
TaskName = Annotated[str, tyro.conf.arg(metavar="|".join(tasks.names()))]


@dataclass(frozen=True)
class Chosen:
    """The values that the command line gives; None for those that it does not give."""

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
        """Read them from the command line. Flags that are unknown here are left to tyro."""
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
        """Raise UserError for the first of these names that is missing; --help needs none."""
        known: dict[str, Callable[[], list[str]]] = {"task": tasks.names, "attn": attention_impls.names}
        for name in names:
            if getattr(self, name) is None and self.config is None and not self.help:
                raise UserError(f"--{name} is missing: choose one of {', '.join(known[name]())}, or see --help")

    def specs(self) -> tuple[Spec | None, ...]:
        """The mechanisms that --attn names; None stands for the one in --config, or the one that --help shows."""
        return (None,) if self.attn is None else parse_specs(self.attn)

    def run(self, spec: Spec | None) -> tuple[Run, str]:
        """The configuration before the second pass, and the reason for its preset if the user chose none."""
        if self.config is not None:
            return self._from_file(self.config, spec), f", from {self.config}"
        preset, why = self.preset, ""
        backend: Any = self.backend or usual()
        if preset is None:
            preset, why = ("standard", " (a GPU was found)") if self._on_gpu(backend) else ("quick", " (no GPU)")
        attn = spec or Spec(SHOWN["attn"])
        return resolve(self.task or SHOWN["task"], attn, backend=backend, preset=preset), why

    def _on_gpu(self, backend: str) -> bool:
        if self.help:
            return False
        from lra.backends import on_gpu, require_devices  # --help needs none of it

        device = None if self.device is None else read_device(self.device)
        if (count := whole(self.devices or "")) is not None:  # else tyro says what is wrong
            require_devices(backend, device, count)
        return on_gpu(backend, device)

    def _from_file(self, path: Path, spec: Spec | None) -> Run:
        """A run from a YAML file of --print-config or from a record. Flags must not contradict the file."""
        values: Any = read_json(path) if path.suffix == ".json" else read_yaml(path)
        values = values.get("config", values) if isinstance(values, dict) else values
        if self.print_config and spec is None:
            _require_no_code(values, path)
        run = from_dict(values, str(path))
        named = {"task": self.task, "attn": None if spec is None else spec.name, "preset": self.preset}
        for name, given in named.items():
            if given not in (None, getattr(run, name)):
                own = getattr(run, name)
                raise UserError(f"--{name} is {given}, but {path} has {own}: leave out --{name} or --config")
        if spec is None or not spec.options:
            return run
        values = as_dict(run)
        return from_dict({**values, "options": {**values["options"], **spec.options}}, f"--attn {spec}")


def _require_no_code(values: Any, path: Path) -> None:
    """Raise UserError for a configuration that names a folder: printing a file must not run the code it names."""
    attn = values.get("attn") if isinstance(values, dict) else None
    if isinstance(attn, str) and "/" in attn:
        raise UserError(
            f"{path} names the folder {attn}, and --print-config does not run code that a file names: "
            f"add --attn {attn} if you trust it"
        )
