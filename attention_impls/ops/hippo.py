"""HiPPO-LegS in NumPy, float64: the state matrix of orthogonal Legendre polynomials, and its normal part.

Gu et al. 2020 derive the matrix; Gu et al. 2022 show that a rank-one term makes it normal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float


class Normal(NamedTuple):
    """The normal part in its own basis, one of each conjugate pair."""

    eigenvalues: Complex[np.ndarray, " n"]
    inputs: Float[np.ndarray, " n"]
    """The matrix B in that basis, whose vectors are turned so that it is real and positive."""


def legs(state: int) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, " N"]]:
    """A, lower triangular, and B of HiPPO-LegS."""
    root = np.sqrt(2 * np.arange(state) + 1)
    return -np.tril(np.outer(root, root), -1) - np.diag(np.arange(state) + 1.0), root


def rank_one(state: int) -> Float[np.ndarray, " N"]:
    """P, with which A + P Pᵀ is normal: −½ and a skew-symmetric matrix."""
    return np.sqrt(np.arange(state) + 0.5)


def normal_legs(state: int) -> Normal:
    """The eigenvalues of A + P Pᵀ with negative imaginary part, and B in their basis; `state` is even.

    An eigenvector has no phase of its own, and libraries choose different ones. The authors clip what imaginary part of
    B theirs leaves; here there is none.
    """
    frequencies, basis = _eigen(state)
    return Normal(-0.5 + 1j * frequencies, np.abs(basis.conj().T @ legs(state)[1]))


def normal_basis(state: int) -> Complex[np.ndarray, "N n"]:
    """The eigenvectors that belong to `normal_legs`, one a column, turned so that B is real and positive in them."""
    basis = _eigen(state)[1]
    found = basis.conj().T @ legs(state)[1]
    return basis * (found / np.abs(found))


def _eigen(state: int) -> tuple[Float[np.ndarray, " n"], Complex[np.ndarray, "N n"]]:
    """Negative imaginary parts of the eigenvalues, and eigenvectors of any phase."""
    matrix, _ = legs(state)
    p = rank_one(state)
    skew = matrix + np.outer(p, p) + 0.5 * np.eye(state)
    frequencies, basis = np.linalg.eigh(-1j * skew)  # Hermitian, so the basis is unitary; in rising order
    return frequencies[: state // 2], basis[:, : state // 2]
