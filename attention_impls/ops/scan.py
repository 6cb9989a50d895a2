"""What a linear recurrence over the tokens costs, and how it is computed.

    h_i = a_i h_{i−1} + b_i        or, in reverse,        h_i = a_i h_{i+1} + b_i

elementwise, from a state of zero. Steps compose: (a, b) and then (a', b') are (a' a, a' b + b'). So a tree of log₂ N
levels gives every state (Blelloch 1990) from products and sums alone. Nothing is divided and no logarithm is taken, so
for |a| ≤ 1 nothing grows and a state errs by O(log N) roundings, however fast it forgets.

Where b is zero at padding, a scan in reverse starts at each example's last real token, for its state is zero before.

The gradient of a scan is a scan in the other direction, so that only states are kept for it.
"""

from __future__ import annotations


def scan_operations(states: int, tokens: int, *, of_complex: bool) -> int:
    """Multiply-adds of a recurrence, one for each state and token, four where they are complex.

    That is the recurrence's own cost, as 5 N log₂ N is a Fourier transform's, whatever a program does: a tree has one
    and a half times as many, and as many more products of the a where these differ.
    """
    return (4 if of_complex else 1) * states * tokens
