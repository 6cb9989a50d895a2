"""LaTeX as one line of characters for a terminal, such as O = softmax(Q Kᵀ / √D) V."""

from __future__ import annotations

import functools
import re
from typing import Any

from lra.core.errors import UserError

SCRIPTS = {
    "^": str.maketrans("0123456789+-inp⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁱⁿᵖᵀ"),
    "_": str.maketrans("0123456789+-aeijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋ₐₑᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ"),
}
SCRIPT = re.compile(r"([_^])(?:\{([^{}]*)\}|([^\s{}]))")
INSIDE = re.compile(r"[_^]?\{[^{}]*\}|‖[^‖]*‖|\([^()]*\)")
DONE = {"^": "\ue000", "_": "\ue001"}  # placeholders for marks that stay, so that none is processed twice
TIDY = (
    (r"\s*([=←∪≤≥∈≠·])\s*", r" \1 "),
    (r"([(\[{⌊]|\(-) +", r"\1"),
    (r" +([)\]}⌋,;])", r"\1"),
    (r"‖ *(.*?) *‖", r"‖\1‖"),
    (r"\s+", " "),
)


def unicode_line(tex: str) -> str:
    """The LaTeX of an equation as one line. Scripts that Unicode lacks stay behind ^ or _.

    Raises:
        UserError: The text is not LaTeX, for example because a bracket is never closed.
    """
    from pylatexenc.latexwalker import LatexWalkerParseError

    try:
        line = _converter().latex_to_text(f"${tex.replace('operatorname', 'text')}$", tolerant_parsing=False)
    except LatexWalkerParseError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot read the equation {tex!r}, expected LaTeX as in a card: {reason}") from error
    found = 1
    while found:  # the innermost first
        line, found = SCRIPT.subn(_script, line)
    for pattern, repl in TIDY:
        line = re.sub(pattern, repl, line)
    return line.replace("-", "−").translate({ord(done): mark for mark, done in DONE.items()}).strip()


def _script(found: re.Match[str]) -> str:
    """A script, raised or lowered if Unicode has characters for all of it."""
    mark, group, single = found.groups()
    text = single or group
    word = text.isalpha() and len(text) > 2
    moved = text.translate(SCRIPTS[mark])
    if not word and not set(moved) & set(text):
        return moved
    return DONE[mark] + (text if text.isalnum() or single else f"({text})")


def _outside(text: str) -> str:
    """The text without brackets, scripts and norms, and without their content."""
    found = 1
    while found:
        text, found = INSIDE.subn("", text)
    return text.strip()


def _fraction(above: str, below: str) -> str:
    """A fraction with a slash; numerator and denominator get brackets where they need them."""
    above = f"({above})" if re.search(r" [+-] ", _outside(above)) else above
    below = f"({below})" if " " in _outside(below) else below
    return f" {above} / {below} " if " " in _outside(above) else f" {above}/{below} "


def _root(inside: str, degree: str = "") -> str:
    """A root; its degree stands in front unless it is a square root."""
    return (f"^{{{degree}}}" if degree else "") + (f"√{inside}" if len(inside) == 1 else f"√({inside})")


@functools.cache
def _converter() -> Any:
    """Pylatexenc's converter with our fractions and roots. Its import is slow, so it happens late."""
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db

    def parts(node: Any, converter: Any) -> list[str]:
        texts = (converter.nodelist_to_text([each]) for each in node.nodeargd.argnlist if each)
        # Remove only the braces of the argument itself; those of a script at its end stay.
        return [text[1:-1] if text[:1] == "{" and text[-1:] == "}" else text for text in texts]

    context = get_default_latex_context_db()
    # Plain functions: pylatexenc looks for a parameter named l2tobj, and does not see through wrappers.
    macros = [
        MacroTextSpec("frac", simplify_repl=lambda node, l2tobj: _fraction(*parts(node, l2tobj))),
        MacroTextSpec("sqrt", simplify_repl=lambda node, l2tobj: _root(*reversed(parts(node, l2tobj)))),
        MacroTextSpec("bmod", simplify_repl=" mod "),
    ]
    context.add_context_category("lra", prepend=True, macros=macros)
    spaces = {"between-latex-constructs": True, "between-macro-and-chars": False, "after-comment": False}
    return LatexNodes2Text(
        math_mode="text",
        latex_context=context,
        keep_braced_groups=True,
        keep_braced_groups_minlen=2,
        strict_latex_spaces=spaces | {"in-equations": spaces},
    )
