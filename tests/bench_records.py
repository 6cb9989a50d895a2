"""A benchmark's record made of chosen seconds, for tests of what is computed from one."""

from __future__ import annotations

from typing import Any

from lra.bench.record import MEASURED, SCHEMA, BenchRecord, Timing

LENGTHS = (100, 200, 400)


def timing(label: str, length: int, seconds: list[float], **changes: Any) -> Timing:
    """A measured cell: two examples, ten calls a sample of one step each."""
    values: dict[str, Any] = {
        "label": label,
        "attn": label,
        "options": {},
        "backend": "torch",
        "length": length,
        "batch": 2,
        "steps": 1,
        "status": MEASURED,
        "why": "",
        "parity": {"output": 1e-7, "gradient": 2e-7, "output_bound": 1e-5, "gradient_bound": 2e-5, "seconds": 0.5},
        "first_seconds": 0.1,
        "samples": [10 * each for each in seconds],
        "calls": [10] * len(seconds),
        "memory_bytes": 1000 * length,
        "flop": 1_000_000,
        "bytes": 10_000,
    }
    return Timing(**values | changes)


def quadratic(length: int) -> float:
    """Seconds that grow with the square, 1 ms at 100 tokens."""
    return 1e-3 * (length / 100) ** 2


def linear(length: int) -> float:
    """Seconds that grow with the length, 1.5 ms at 100 tokens."""
    return 1.5e-3 * length / 100


def bench_record(*more: Timing, **changes: Any) -> BenchRecord:
    """softmax and elfatt over LENGTHS, a machine whose second round is twice as slow, and more cells."""
    drift = (1.0, 2.0, 1.0)
    cells = [
        timing(label, length, [seconds(length) * slow for slow in drift])
        for length in LENGTHS
        for label, seconds in (("elfatt", linear), ("softmax", quadratic))
    ]
    product = timing("product", 0, [1e-3, 1e-3], attn="", parity={}, flop=10_000_000, bytes=3)
    copy = timing("copy", 0, [1e-3, 1e-3], attn="", parity={}, flop=0, bytes=40_000)
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "started": "2026-01-02T03:04:05+00:00",
        "complete": True,
        "what": "attend",
        "device": "cpu",
        "dtype": "float32",
        "heads": 2,
        "head_dim": 32,
        "dropout": 0.0,
        "seed": 0,
        "cells": [*cells, *more],
        "ceilings": [product, copy],
        "compare": [["elfatt", "softmax"]],
        "environment": {
            "cpu": "a CPU",
            "cores": 2,
            "timing": "alone",
            "backends": {"torch": {"framework": "torch 1", "device": "cpu"}},
        },
        "git": {"commit": None, "clean": None},
        "command": "python run_lra.py bench",
    }
    return BenchRecord(**values | changes)
