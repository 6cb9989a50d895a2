"""Pairs of papers for Retrieval: their splits, and pairs without a citation that look like those with one.

Papers differ in how often they cite and are cited, and a citation goes back in time. With random negatives, a paper's
fame or age would reveal the label. So negatives are made from the citations: the earlier papers of two pairs are
exchanged again and again (Maslov and Sneppen 2002, Science 296:910). Then every paper is the later one, and the earlier
one, of as many negatives as citations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.base import SPLITS
from tasks.retrieval_aan1818.corpus import Corpus, pair_codes

Division = Literal["papers", "pairs"]
PAPER_SHARES = (0.6, 0.1, 0.3)  # train, validation, test: 36, 1 and 9 % of the citations lie inside one of them
PAIR_SHARES = (0.8, 0.1, 0.1)
ROUNDS = 20  # in each of which every pair meets another; by then the years between the papers have settled
MOST_ROUNDS = 400  # if some pairs still are citations


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """One split: (n, 2) later and earlier papers with a citation, and as many without."""

    positives: np.ndarray
    negatives: np.ndarray
    dropped: int
    """Citations left out because no exchange was found for them."""


def divide(corpus: Corpus, by: Division, seed: int) -> dict[str, Pairs]:
    """The three splits, by papers (no paper in two splits) or by pairs (no pair in two splits)."""
    taken = np.zeros(0, np.int64)
    parts = _by_papers(corpus, seed) if by == "papers" else _by_pairs(corpus, seed)
    splits = {}
    for index, (split, part) in enumerate(zip(SPLITS, parts, strict=True)):
        splits[split] = rewire(corpus, part, taken, _stream(seed, 1 + index))
        taken = np.concatenate([taken, pair_codes(splits[split].negatives, len(corpus))])
    return splits


def mixed(pairs: Pairs, split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(2n, 2) pairs and (2n,) labels in an order drawn from the seed; any beginning holds as many of either label."""
    rng = _stream(seed, 4 + SPLITS.index(split))
    count = len(pairs.positives)
    both = np.stack([rng.permutation(pairs.negatives), rng.permutation(pairs.positives)], 1)
    first = rng.integers(0, 2, count)
    labels = np.stack([first, 1 - first], 1)
    return both[np.arange(count)[:, None], labels].reshape(-1, 2), labels.reshape(-1)


@dataclass(frozen=True, kw_only=True)
class _Rules:
    """Which rows a split may hold while its citations turn into negatives."""

    years: np.ndarray
    citation: np.ndarray
    """(papers, papers) whether (later, earlier) is one of the split's own citations, in this direction."""
    barred: np.ndarray
    """(papers²,) whether the two of a pair code may be no negative."""

    def exchange(self, rows: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
        """Exchange in place the earlier papers of rows `one` and `other`, wherever no more citations result."""
        papers = len(self.years)
        old = np.stack([rows[one], rows[other]])
        new = np.stack([old[..., 0], old[::-1, :, 1]], -1)
        codes = pair_codes(new, papers)
        present = np.zeros_like(self.barred)
        present[pair_codes(rows, papers)] = True
        possible = self.is_citation(new) | ~self.barred[codes]
        possible &= ~present[codes] & (new[..., 0] != new[..., 1])
        possible &= self.years[new[..., 0]] >= self.years[new[..., 1]]
        good = possible.all(0) & (self.is_citation(new).sum(0) <= self.is_citation(old).sum(0))
        values, counts = np.unique(codes[:, good], return_counts=True)
        good &= ~np.isin(codes, values[counts > 1]).any(0)
        rows[one[good]], rows[other[good]] = new[0, good], new[1, good]

    def is_citation(self, rows: np.ndarray) -> np.ndarray:
        """Which rows are among the split's citations."""
        return self.citation[rows[..., 0], rows[..., 1]]


def rewire(corpus: Corpus, positives: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> Pairs:
    """Negatives with the papers of these citations, none of them a known citation or in `taken` (pair codes).

    At every moment a row is one of the citations or a possible negative, no two are the same, and none goes forward
    in time. A citation that withstands every exchange is left out of both classes, which keeps the two alike.
    """
    papers = len(corpus)
    rules = _Rules(years=corpus.years, citation=np.zeros((papers, papers), bool), barred=np.zeros(papers**2, bool))
    rules.citation[positives[:, 0], positives[:, 1]] = True
    rules.barred[np.concatenate([corpus.linked, taken])] = True
    rows, half = positives.copy(), len(positives) // 2
    for number in range(MOST_ROUNDS):
        if number >= ROUNDS and not rules.is_citation(rows).any():
            break
        order = rng.permutation(len(rows))
        rules.exchange(rows, order[:half], order[half : 2 * half])
    left = rules.is_citation(rows)
    rules.citation[rows[left, 0], rows[left, 1]] = False
    return Pairs(positives=positives[rules.is_citation(positives)], negatives=rows[~left], dropped=int(left.sum()))


def _by_papers(corpus: Corpus, seed: int) -> list[np.ndarray]:
    ends = np.rint(np.cumsum(PAPER_SHARES) * len(corpus))
    home = np.empty(len(corpus), np.int64)
    home[_stream(seed, 0).permutation(len(corpus))] = np.searchsorted(ends, np.arange(len(corpus)), side="right")
    homes = home[corpus.citations]
    return [corpus.citations[(homes == index).all(1)] for index in range(len(SPLITS))]


def _by_pairs(corpus: Corpus, seed: int) -> list[np.ndarray]:
    ends = np.rint(np.cumsum(PAIR_SHARES) * len(corpus.citations)).astype(np.int64)
    return np.split(_stream(seed, 0).permutation(corpus.citations), ends[:-1])


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, number])))
