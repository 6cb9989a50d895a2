"""The cost and the computation of a linear recurrence over the tokens.

    h_i = a_i h_{i−1} + b_i        or, in reverse,        h_i = a_i h_{i+1} + b_i

elementwise, from a state of zero. Steps compose: (a, b) and then (a', b') are (a' a, a' b + b'). So a tree of log₂ N
levels gives every state (Blelloch 1990) from products and sums alone, without divisions and logarithms. So for |a| ≤ 1
nothing grows, and a state has an error of O(log N) roundings, however fast it forgets. JAX on a CPU takes the steps in
order.

If b is zero at padding, a scan in reverse starts at each example's last real token: its state is zero before it.

The gradient of a scan is a scan in the other direction, so only states are kept for it.
"""

from __future__ import annotations


def scan_operations(states: int, tokens: int, *, of_complex: bool) -> int:
    """Multiply-adds of a recurrence, one for each state and token, four for complex numbers.

    This is the cost of the recurrence itself, independent of the program, as 5 N log₂ N is that of a Fourier transform.
    A tree has one and a half times as many. If the a differ, it has as many products of them in addition.
    """
    return (4 if of_complex else 1) * states * tokens
