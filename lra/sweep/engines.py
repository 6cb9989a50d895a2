"""The engine of a command: this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lra import backends
from lra.core.environment import has_gpu
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.sweep import on_ray, on_slurm
from lra.sweep.engine import Engine
from lra.sweep.local import LocalEngine, Share, shares
from lra.sweep.plan import Piece, Timed

EngineName = Literal["local", "ray", "slurm"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The engine flags of a command; None or empty if they are not given."""

    engine: EngineName
    device: Device | None
    jobs: int | None
    cpus: int | None
    address: str | None
    slurm: tuple[str, ...]

    def check(self) -> None:
        """Raise UserError for flags of another engine."""
        own = {"--cpus": ("ray", "slurm"), "--address": ("ray",), "--slurm": ("slurm",)}
        given = {"--cpus": self.cpus, "--address": self.address, "--slurm": self.slurm}
        for flag, engines in own.items():
            if given[flag] and self.engine not in engines:
                raise UserError(f"--engine {self.engine} does not take {flag}: leave it out, or change --engine")


@dataclass(frozen=True, kw_only=True)
class Site:
    """An engine, and facts about its machines."""

    engine: Engine
    device: Device | None
    """The device of each run; None if its framework decides."""
    on_gpu: Callable[[str], bool]
    """Whether a run of that framework trains on a GPU. UserError if it must but cannot."""
    share: Share | None = None
    """The share of this machine for a probe; None if other machines train."""


def site(asked: Asked, results: Path, pieces: Sequence[Piece]) -> Site:
    """The site for these flags. UserError if it is not available."""
    asked.check()
    if asked.engine == "local":
        return _local(asked.device, asked.jobs)
    if any(isinstance(each, Timed) for each in pieces):
        raise UserError(f"the plan has benchmarks, which --engine {asked.engine} cannot run: use --engine local")
    gpu = asked.device == "gpu"  # this machine cannot see the devices of others
    engine = _ray(asked, gpu) if asked.engine == "ray" else _slurm(asked, results, gpu)
    return Site(engine=engine, device="gpu" if gpu else "cpu", on_gpu=lambda backend: gpu)


def _local(device: Device | None, jobs: int | None) -> Site:
    gpu = device != "cpu" and has_gpu()
    if device == "gpu" and not gpu:
        raise UserError("--device gpu: no NVIDIA driver responds, and other GPUs are not supported: use --device cpu")
    parts = shares(jobs, "gpu" if gpu else "cpu")
    # Without a driver, no framework needs to be loaded to look for a GPU.
    own = device if gpu else "cpu"
    return Site(engine=LocalEngine(parts), device=own, on_gpu=lambda backend: _on_gpu(backend, own), share=parts[0])


def _on_gpu(backend: str, device: Device | None) -> bool:
    if device == "cpu":
        return False
    seen = backends.gpu_seen_elsewhere(backend)
    if device == "gpu" and not seen:
        raise UserError(f"--device gpu: {backend} sees no CUDA GPU, and other GPUs are not supported: use --device cpu")
    return seen


def _ray(asked: Asked, gpu: bool) -> Engine:
    return on_ray.RayEngine(asked.address, cpus=asked.cpus or 1, gpu=gpu, jobs=asked.jobs)


def _slurm(asked: Asked, results: Path, gpu: bool) -> Engine:
    parameters = on_slurm.parsed(asked.slurm, cpus=asked.cpus or 1, gpu=gpu)
    return on_slurm.SlurmEngine(results / ".work" / "slurm", parameters, jobs=asked.jobs)
