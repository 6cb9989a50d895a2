"""Reads the free corpus of 1,818 ACL Anthology papers: their texts and their known citations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.base import TaskError
from tasks.files import DAMAGED, compressed, lines_of

PAPERS, EDGES, NETWORK = "papers.jsonl.xz", "edges.tsv.xz", "aan2012_network.tsv.xz"
FILES = (PAPERS, EDGES, NETWORK)
FOLDERS = ("", "aan")
TOO_LATE = 10_000
LAST_YEAR = 2012  # the last year of the network; citations of later papers are not known


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The papers in the order of their ids. Papers are named by their place in it."""

    texts: list[bytes]
    """The beginning of each paper's text."""
    years: np.ndarray
    """(papers,) year of publication."""
    citations: np.ndarray
    """(pairs, 2) papers of which one cites the other, each two of them once: the later paper, then the earlier."""
    linked: np.ndarray
    """Sorted `pair_codes` of every two papers of which one is known to cite the other, if only by the network."""

    def __len__(self) -> int:
        return len(self.texts)


def pair_codes(pairs: np.ndarray, papers: int) -> np.ndarray:
    """(n,) a number for each two papers, the same either way round."""
    return pairs.min(-1) * papers + pairs.max(-1)


def find(raw: Path | None) -> Path:
    """The folder with the three files, at `raw` or its aan."""
    if raw is None:
        raise TaskError(f"the corpus of 1,818 papers ({', '.join(FILES)}) is needed: name its folder with --raw DIR")
    for below in FOLDERS:
        if all(compressed(raw / below, name) for name in FILES):
            return raw / below
    raise TaskError(f"no {', '.join(FILES)} in {raw} or {raw / 'aan'}: name the corpus's folder with --raw DIR")


def read(folder: Path, max_bytes: int) -> Corpus:
    """Papers up to 2012, cut to max_bytes, and their citations. TaskError names a bad file and line."""
    known, chosen = _papers(folder / PAPERS, max_bytes)
    ids = sorted(chosen)
    years = np.array([chosen[paper][0] for paper in ids], np.int64)
    place = {paper: number for number, paper in enumerate(ids)}
    edges: list[tuple[int, int]] = []
    for number, (citing, cited, _) in _rows(folder / EDGES, columns=3):
        if citing not in known or cited not in known:
            raise TaskError(f"{folder / EDGES}:{number}: {citing} or {cited} is not in {PAPERS}: restore both files")
        if citing in place and cited in place and citing != cited:
            edges.append((place[citing], place[cited]))
    citations = np.array(edges, np.int64).reshape(-1, 2)
    backward = years[citations[:, 0]] < years[citations[:, 1]]
    citations[backward] = citations[backward, ::-1]
    codes, first = np.unique(pair_codes(citations, len(ids)), return_index=True)
    network = [
        (place[citing], place[cited])
        for _, (citing, cited) in _rows(folder / NETWORK, columns=2)
        if citing in place and cited in place
    ]
    return Corpus(
        texts=[chosen[paper][1] for paper in ids],
        years=years,
        citations=citations[first],
        linked=np.union1d(codes, pair_codes(np.array(network, np.int64).reshape(-1, 2), len(ids))),
    )


def _papers(path: Path, max_bytes: int) -> tuple[set[str], dict[str, tuple[int, bytes]]]:
    """Every id, and (year, beginning of the text) of the papers that the network covers."""
    known: set[str] = set()
    chosen: dict[str, tuple[int, bytes]] = {}
    for number, line in _lines(path):
        try:
            paper = json.loads(line)
            name, year, text = paper["id"], int(paper["year"]), paper["text"].encode()
            if not isinstance(name, str) or not 0 < year < TOO_LATE:
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise TaskError(f"{path}:{number}: expected a JSON object with id, year and text: restore it") from None
        if name in known or not text:
            raise TaskError(f"{path}:{number}: {name} {'comes twice' if text else 'has no text'}: restore the file")
        known.add(name)
        if year <= LAST_YEAR:
            chosen[name] = (year, text[:max_bytes])
    return known, chosen


def _rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) != columns:
            raise TaskError(f"{path}:{number}: {len(fields)} columns, expected {columns}: restore the file")
        yield number, fields


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with lines_of(compressed(path.parent, path.name) or path) as lines:
            yield from enumerate((line.decode() for line in lines), start=1)
    except (*DAMAGED, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is damaged ({error}): restore it") from None
