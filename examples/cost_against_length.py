"""Time and memory of mechanisms against length, measured by the library as `bench` measures them.

python examples/cost_against_length.py --lengths 1024 4096 16384
"""

from __future__ import annotations

from pathlib import Path

import tyro

import lra
from lra.bench.plan import Wanted
from lra.bench.summary import summarize
from lra.core.spec import parse_specs


def main(
    attn: str = "elfatt,performer,softmax",
    lengths: tuple[int, ...] = (512, 1024, 2048),
    samples: int = 5,
    results: Path = Path("results"),
) -> None:
    """Forward and backward passes of the mechanisms alone."""
    wanted = Wanted(attn=parse_specs(attn), lengths=lengths, samples=samples)
    for measured in filter(None, summarize(lra.benchmark(wanted, results=results)).cells):
        cell, example = measured.cell, measured.example
        memory = "" if measured.example_bytes is None else f", {measured.example_bytes / 1e6:.1f} MB"
        print(f"{cell.label} at {cell.length} tokens: {1e3 * example.median:.2f} ms an example{memory}")


if __name__ == "__main__":
    tyro.cli(main)
