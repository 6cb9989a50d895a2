"""The three renderings of an equation's LaTeX: a terminal's characters, MathML, and a card that shows both."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

import attention_impls
from attention_impls.equation import rendered
from lra.cli.main import main
from lra.core.errors import UserError
from lra.report.mathematics import mathml, words_and_mathml
from lra.terminal.mathematics import unicode_line

FORMULAS = [
    pytest.param(equation, id=f"{name}-{equation.tag}")
    for name in attention_impls.names()
    for equation in attention_impls.load(name).card.formulas
]


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"O = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V", "O = softmax(Q Kᵀ / √D) V"),
        (r"\frac{a + b}{2 \sqrt{D}} \sum_j s_{ij}", "(a + b)/(2 √D) ∑ⱼ sᵢⱼ"),
        (r"\frac{f(a + b)}{\max(a, b)}", "f(a + b)/max(a, b)"),
        (r"\frac{R_{ab}}{1 + R_{cd}}", "R_ab/(1 + R_cd)"),
        (r"\operatorname{softmax}_{\text{tokens}}(K)^\top V", "softmax_tokens(K)ᵀ V"),
        (r"e^{m - m'} K_{S_i}^\top", "e^(m − m') K_(Sᵢ)ᵀ"),
        (r"\{j : \lfloor j / s \rfloor \ge 10^{-6}\} \cup R_i", "{j : ⌊j / s⌋ ≥ 10⁻⁶} ∪ Rᵢ"),
        (r"\exp\left(-\frac{\lVert x - y \rVert^2}{2}\right)", "exp(−‖x − y‖²/2)"),
        (r"A_{i, j \bmod a} \, \tilde{Q} \tilde{K}^\top V \log c", "A_(i, j mod a) Q̃ K̃ᵀ V log c"),
        (r"\sqrt[3]{x} + \frac12", "³√x + 1/2"),
        (r"\Delta^{-1/2} Z_0 \neq \sqrt{ab}", "Δ^(−1/2) Z₀ ≠ √(ab)"),
    ],
)
def test_latex_in_a_terminal(tex: str, shown: str) -> None:
    assert unicode_line(tex) == shown


@pytest.mark.parametrize("tex", [r"\frac{a", r"\frac", "a}", "{a", "$"])
def test_what_is_no_latex_is_told_in_one_line(tex: str) -> None:
    with pytest.raises(UserError, match=r"^cannot read the equation .* expected LaTeX as in a card: [^\n]+$"):
        unicode_line(tex)


@pytest.mark.parametrize("equation", FORMULAS)
def test_every_equation_is_one_readable_line(equation) -> None:  # noqa: ANN001
    for line in (unicode_line(equation.tex), rendered(equation.where, unicode_line)):
        assert "\n" not in line
        assert not set(line) & set("\\$\ue000\ue001"), line
        assert line.count("(") == line.count(")")
    assert not re.search(r"[_^]\{", unicode_line(equation.tex))


@pytest.mark.parametrize("equation", FORMULAS)
def test_every_equation_is_mathml(equation) -> None:  # noqa: ANN001
    for display, html in (("block", mathml(equation.tex)), ("inline", words_and_mathml(equation.where))):
        for found in re.findall(r"<math.*?</math>", html):
            tree = ElementTree.fromstring(found)
            assert tree.get("display") == display
            # A command that the converter does not know is left as text with its backslash.
            assert "\\" not in "".join(tree.itertext())
    assert mathml(equation.tex).count("<math") == 1


def test_words_beside_mathml_are_escaped() -> None:
    assert words_and_mathml("a < b & $x < y$").startswith("a &lt; b &amp; <math")
    assert ElementTree.fromstring(words_and_mathml("$x < y$"))[0][1].text == "<"


def test_a_card_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--attn", "nystrom"]) == 0
    shown = capsys.readouterr().out
    assert "(inverse) towards the pseudo-inverse A⁺\n    Z ← 1/4 Z (13 I − A Z (15 I − A Z (7 I − A Z)))" in shown
    assert "@inproceedings{xiong2021nystromformer," in shown
    assert "landmarks=128" in shown


def test_a_card_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--attn", "nystrm"]) != 0
    assert "did you mean 'nystrom'?" in capsys.readouterr().err
