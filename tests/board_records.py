"""Records and bench records made up for tests of tables and plots; no training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tasks
from attention_impls.saved import record_checksum
from lra.bench import record as bench_record
from lra.core.config import Run, as_dict, resolve
from lra.core.presets import preset_version
from lra.training.disturbance import ALONE
from lra.training.history import FIRST_STEPS, Point
from lra.training.record import SCHEMA, Record

CHANCE = {"listops": 0.1, "image": 0.1}


def made(task: str, attn: str, accuracy: float, seed: int = 0, **changes: Any) -> Record:
    """A record whose run scored `accuracy`; changes: backend, preset, options, data, train, or any field of Record."""
    base = resolve(
        task, attn, backend=changes.pop("backend", "torch"), preset=changes.pop("preset", "quick"), seed=seed
    )
    config: dict[str, Any] = as_dict(base)
    for part in ("options", "data", "model", "train"):
        config[part] |= changes.pop(part, {})
    steps = [config["train"]["evaluate_every"] * number for number in (1, 2, 3)]
    chance = CHANCE.get(task, 0.5)
    values = {
        **{name: config[name] for name in Run.__dataclass_fields__ if name not in ("data", "model", "train", "tuned")},
        "schema": SCHEMA,
        "preset_version": preset_version(task, base.preset),
        "run_id": f"{abs(hash((task, attn, seed, json.dumps(config)))):012x}"[:12],
        "task_version": 1,
        "data": tasks.load(task).describe(tasks.load(task).options(**config["data"])),
        "data_hash": f"{task}-{json.dumps(config['data'])}",
        "config": config,
        "test_accuracy": accuracy,
        "test_accuracy_last": accuracy,
        "test_examples": 2000,
        "validation_accuracy": accuracy,
        "validation": "held out",
        "best_step": steps[-1],
        "references": {"chance": chance, "majority": chance + 0.01, "rule": chance + 0.02},
        "curve": [_point(step, chance, accuracy, share) for step, share in zip(steps, (0.2, 0.7, 1.0), strict=True)],
        "parameters": 1234,
        "seconds": 1.0,
        "evaluation_seconds": 1.0,
        "steps_per_second": 1.0,
        "samples_per_second": 1.0,
        "peak_memory_bytes": 1,
        "environment": {"device": "cpu", "cpu": "a CPU", "framework": f"{base.backend} 1.0"},
        "git": {"commit": "0123456789abcdef", "clean": True},
        "command": "",
        "revisions": {"task": 1, "attention": 1, "training": 1},
        "precision": "float32",
        "devices": 1,
        "usable_cores": 2,
        "usable_memory_bytes": 1 << 30,
        "first_losses": [1.0] * FIRST_STEPS,
        "timing": ALONE,
    }
    return Record(**{**values, **changes})


def _point(step: int, chance: float, accuracy: float, share: float) -> Point:
    """A share of the way from chance to the accuracy."""
    reached = chance + (accuracy - chance) * share
    return Point(step=step, train_loss=1.0, train_accuracy=accuracy, validation_loss=1.0, validation_accuracy=reached)


def write(record: Record, results: Path, name: str | None = None) -> Path:
    """Put a record where the command reads it."""
    folder = results / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"{record.task}-{record.attn}-{len(list(folder.iterdir()))}.json")
    return put(asdict(record), path)


def put(values: dict[str, Any], path: Path) -> Path:
    """Write a record's fields, changed as a test likes, with the checksum that they have."""
    path.write_text(json.dumps(values | {"checksum": record_checksum(values)}), encoding="utf-8")
    return path


def write_timing(results: Path, attn: str, seconds: float, device: str = "a GPU", **changes: Any) -> Path:
    """Put a bench record of one cell where the command reads it: `seconds` a step of 8 examples; changes of the cell,
    or of the record: what, dtype, started."""
    own = {name: changes.pop(name) for name in ("what", "dtype", "started") if name in changes}
    cell = bench_record.Timing(
        **{
            "label": attn,
            "attn": attn,
            "options": {},
            "backend": "torch",
            "length": 4096,
            "batch": 8,
            "steps": 2,
            "status": bench_record.MEASURED,
            "why": "",
            "parity": {},
            "first_seconds": None,
            "samples": [6 * seconds, 60 * seconds, 5 * seconds],
            "calls": [3, 3, 3],
            "memory_bytes": 500_000_000,
            "flop": None,
            "bytes": None,
            **changes,
        }
    )
    facts = {"framework": f"{cell.backend} 1.0", "device": device}
    values = {"what": "train", "dtype": "float32", "started": "2026-01-01", **own}
    record = bench_record.BenchRecord(
        schema=bench_record.SCHEMA,
        complete=True,
        device=device,
        heads=2,
        head_dim=32,
        dropout=0.0,
        seed=0,
        cells=[cell],
        ceilings=[],
        compare=[],
        environment={"cpu": "a CPU", "cores": 2, "threads": None, "backends": {cell.backend: facts}},
        git={},
        command="",
        **values,
    )
    folder = results / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{len(list(folder.iterdir()))}.json"
    bench_record.save(record, path)
    return path


def write_few(folder: Path) -> Path:
    """elfatt of three seeds, softmax, and one of elfatt's controls, on ListOps; the folder."""
    for seed, accuracy in enumerate((0.50, 0.52, 0.54)):
        write(made("listops", "elfatt", accuracy, seed), folder)
    write(made("listops", "softmax", 0.40), folder)
    write(made("listops", "softmax", 0.51, options={"local_conv": True}), folder)
    return folder
