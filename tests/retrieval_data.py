"""A corpus of papers in miniature, in the files that the tests of Retrieval read."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np

from tasks.retrieval_aan1818.corpus import EDGES, NETWORK, PAPERS


def write(folder: Path, papers: int = 300) -> Path:
    """A corpus in miniature: of every three papers one is too new, each cites some before it, often 0 to 9."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"P{i:03}", "year": 2013 if i % 3 == 2 else 1950 + i // 5, "title": "", "text": f"text of {i} é"}
        for i in range(papers)
    ]
    edges = cited(papers)
    put(folder / PAPERS, [json.dumps(row) for row in rows])
    put(folder / EDGES, [f"P{i:03}\tP{j:03}\taan" for i, j in sorted(edges)])
    put(folder / NETWORK, [f"P{i:03}\tP{j:03}" for i, j in [*sorted(edges), (21, 9), (30, 12)]] + ["X1\tP003"])
    return folder


def cited(papers: int) -> set[tuple[int, int]]:
    """Who cites whom in the miniature."""
    rng = np.random.default_rng(0)
    return {(i, int(j)) for i in range(papers) for j in (*rng.integers(0, i + 1, 4), *rng.integers(0, 10, 2)) if j < i}


def put(path: Path, lines: list[str]) -> None:
    """An xz file of these lines."""
    path.write_bytes(lzma.compress("".join(f"{line}\n" for line in lines).encode()))
