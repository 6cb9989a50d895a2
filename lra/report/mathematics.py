"""LaTeX as MathML, which browsers show without scripts, fonts or a network."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from attention_impls.equation import rendered

FUNCTION = re.compile(r"<mo>((?!mod)[A-Za-z]{2,})</mo>")


def mathml(tex: str, display: str = "block") -> Markup:
    """An equation on its own line, or within text with display "inline".

    Names of functions get thin spaces on both sides, as in LaTeX.
    """
    from latex2mathml.converter import convert  # reads a large table of symbols

    return Markup(FUNCTION.sub(r'<mo lspace="0.17em" rspace="0.14em">\1</mo>', convert(tex, display=display)))


def words_and_mathml(text: str) -> Markup:
    """Text with LaTeX between dollars, as HTML."""
    return Markup(rendered(text, lambda tex: mathml(tex, "inline"), escape))
