"""Rules without learning for pairs of documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

import numpy as np
from scipy.sparse import csr_matrix

from tasks.base import Split
from tasks.retrieval.documents import popularity, text

BUCKETS = 8192  # of hashed words
FITTED = 10_000  # the most training pairs for fitting the rule on words
WORD = re.compile(rb"[a-z]+")
LEVELS = 9  # of popularity, a factor of two apart


def references(splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, and of two rules that are fitted on the training split.

    `popularity` uses only the number of pairs of the split with each document. `shared words` is a threshold on the
    cosine of the two documents' word counts, log(1 + count), weighted by inverse document frequency.
    """
    train, test = splits["train"], splits["test"]
    majority = int(np.bincount(train.labels, minlength=2).argmax())
    return {
        "chance": 0.5,
        "majority": float((test.labels == majority).mean()),
        "popularity": by_popularity(train, test),
        "shared words": _shared_words(train, test),
    }


def by_popularity(train: Split, test: Split) -> float:
    """Test accuracy of the most frequent training label given both documents' popularity, to a factor of two."""
    return by_level(train, test, _levels(train), _levels(test))


def by_level(train: Split, test: Split, of_train: np.ndarray, of_test: np.ndarray) -> float:
    """Test accuracy of the most frequent training label given an example's level (n,), a small whole number."""
    counts = np.zeros((1 + max(of_train.max(), of_test.max()), 2), np.int64)
    np.add.at(counts, (of_train, train.labels), 1)
    majority = int(np.bincount(train.labels, minlength=2).argmax())
    rule = np.where(counts[:, 0] == counts[:, 1], majority, counts.argmax(1))
    return float((test.labels == rule[of_test]).mean())


def _levels(split: Split) -> np.ndarray:
    """Both documents' popularity in powers of two of the mean, so that splits of different sizes compare."""
    counts = np.bincount(split.examples.reshape(-1))
    relative = popularity(split) / counts[counts > 0].mean()
    levels = np.clip(np.rint(np.log2(relative)) + LEVELS // 2, 0, LEVELS - 1).astype(np.int64)
    return levels[:, 0] * LEVELS + levels[:, 1]


def _shared_words(train: Split, test: Split) -> float:
    fitted = min(len(train), FITTED)
    documents, pairs = np.unique(train.examples[:fitted], return_inverse=True)
    counts = _word_counts(train, documents)
    rarity = np.log((1 + len(documents)) / (1 + np.bincount(counts.indices, minlength=BUCKETS)))
    threshold = _best_threshold(_cosines(counts, rarity, pairs.reshape(-1, 2)), train.labels[:fitted])
    documents, pairs = np.unique(test.examples, return_inverse=True)
    found = _cosines(_word_counts(test, documents), rarity, pairs.reshape(-1, 2))
    return float((test.labels == (found > threshold)).mean())


def _word_counts(split: Split, documents: np.ndarray) -> csr_matrix:
    """(documents, BUCKETS) log(1 + count) of each word in each document."""
    words = [_buckets(text(split, int(document))) for document in documents]
    ends = np.cumsum([0, *map(len, words)])
    columns = np.concatenate(words)
    counts = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(words), BUCKETS))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    return counts


def _buckets(document: bytes) -> np.ndarray:
    return np.array([crc32(word) % BUCKETS for word in WORD.findall(document.lower())], np.uint16)


def _cosines(counts: csr_matrix, rarity: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    weighted = counts.multiply(rarity.astype(np.float32)).tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).reshape(-1))
    products = np.asarray(weighted[pairs[:, 0]].multiply(weighted[pairs[:, 1]]).sum(1)).reshape(-1)
    return products / np.maximum(lengths[pairs[:, 0]] * lengths[pairs[:, 1]], 1e-9)


def _best_threshold(values: np.ndarray, labels: np.ndarray) -> float:
    """The threshold for label 1 with the fewest errors, halfway between two of the given values."""
    order = np.argsort(values, kind="stable")
    ones = np.cumsum(labels[order] == 1)
    right = np.arange(1, len(values) + 1) - ones + ones[-1] - ones
    last = int(right.argmax())
    return float(values[order][last : last + 2].mean())
