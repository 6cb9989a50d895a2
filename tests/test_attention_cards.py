"""What a card cites and what it computes: citations, equations and their names in the code, and the pages of them."""

from __future__ import annotations

import re

import pytest

import attention_impls
from attention_impls.__main__ import readme, references
from attention_impls.base import Attention
from attention_impls.citation import VENUES, Citation
from attention_impls.equation import Equation, rendered, tags_in

PAPERS = {name: attention_impls.load(name).card.papers for name in attention_impls.names()}
ADA = Citation(authors="Ada Lovelace", title="Ünder: a test", venue="ICML", year=1843, arxiv="1843.00001")


def entry(bibtex: str) -> tuple[str, str, dict[str, str]]:
    """Kind, key and fields of one entry; an error where it is not BibTeX."""
    found = re.fullmatch(r"@(\w+)\{([\w:-]+),\n((?:  \w+ = \{.*\},\n)+)\}", bibtex)
    assert found is not None, bibtex
    fields = dict(re.findall(r"  (\w+) = \{(.*)\},\n", found[3]))
    for value in fields.values():
        depth = [value[:i].count("{") - value[:i].count("}") for i in range(len(value) + 1)]
        assert min(depth) >= 0, value
        assert depth[-1] == 0, value
    return found[1], found[2], fields


@pytest.mark.parametrize("name", attention_impls.names())
def test_a_citation_is_complete(name: str) -> None:
    card = attention_impls.load(name).card
    assert isinstance(card.paper, Citation)
    for paper in card.papers:
        assert all(len(author.split()) > 1 for author in paper.names)
        assert paper.title
        assert not paper.venue or paper.venue in VENUES
        assert paper.url or not paper.venue, "what is published has a number at arXiv or a DOI"
        if paper.arxiv:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv)
            assert 0 <= paper.year - (2000 + int(paper.arxiv[:2])) <= 3, "from arXiv to the venue"
        assert not paper.doi or re.fullmatch(r"10\.\d{4,}/\S+", paper.doi)
        kind, key, fields = entry(paper.bibtex())
        assert kind == ("inproceedings" if paper.venue else "misc")
        assert (key, fields.get("eprint", "")) == (paper.key, paper.arxiv)
        assert fields["author"].split(" and ") == paper.names
    assert 0 <= card.paper.year - card.year <= 3


def test_a_key_is_one_publication() -> None:
    papers = [paper for each in PAPERS.values() for paper in each]
    for key in {paper.key for paper in papers}:
        assert len({paper for paper in papers if paper.key == key}) == 1, key
    for number in {paper.arxiv for paper in papers} - {""}:
        assert len({paper.key for paper in papers if paper.arxiv == number}) == 1, number


def test_a_citation_in_its_forms() -> None:
    assert str(ADA) == "Lovelace, Ünder: a test, ICML 1843, arXiv 1843.00001"
    assert ADA.key == "lovelace1843under"
    two, three = (Citation(authors=a, title="T", year=1, doi="10.1000/x") for a in ("A B, C D", "A B, C D, E F"))
    assert (two.byline, three.byline) == ("B and D", "B et al.")
    assert str(two) == "B and D, T, 1, doi 10.1000/x"
    assert two.url == "https://doi.org/10.1000/x"
    assert entry(ADA.bibtex()) == (
        "inproceedings",
        "lovelace1843under",
        {
            "author": "Ada Lovelace",
            "title": "{Ünder: a test}",
            "booktitle": VENUES["ICML"],
            "year": "1843",
            "eprint": "1843.00001",
            "archiveprefix": "arXiv",
        },
    )


@pytest.mark.parametrize("name", attention_impls.names())
def test_the_code_names_the_equations_of_its_card(name: str) -> None:
    mechanism = attention_impls.load(name)
    tags = [equation.tag for equation in mechanism.card.formulas]
    assert len(set(tags)) == len(tags)
    for code in ("reference", *(f"{backend}_impl" for backend in mechanism.backends)):
        assert tags_in((mechanism.folder / f"{code}.py").read_text(encoding="utf-8")) == set(tags), code
    for other in mechanism.folder.glob("*.py"):
        assert tags_in(other.read_text(encoding="utf-8")) <= set(tags), other


def test_tags_are_read_from_comments_alone() -> None:
    code = "x = 1  # eq. (one), (two-2)\ny = f(x)  # eq. (three), where (four) ends\nz = '(five)'  # a note (six)\n"
    assert tags_in(code) == {"one", "two-2", "three", "four"}


@pytest.mark.parametrize("name", attention_impls.names())
def test_an_equation_is_latex_that_every_page_reads(name: str) -> None:
    for equation in attention_impls.load(name).card.formulas:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", equation.tag)
        assert equation.where.count("$") % 2 == 0
        for tex in (equation.tex, *equation.where.split("$")[1::2]):
            assert tex.count("{") == tex.count("}")
            assert len(re.findall(r"\\left\b", tex)) == len(re.findall(r"\\right\b", tex))
            assert not set(tex) & set("$%#~\n"), tex
            assert tex.isascii(), f"characters of LaTeX, not of Unicode: {tex}"


def test_words_and_latex_are_told_apart() -> None:
    assert rendered("for $i < j$, $k$ fixed", str.upper, lambda text: f"<{text}>") == "<for >I < J<, >K< fixed>"


def test_a_card_may_say_in_words_what_it_has_no_citation_for() -> None:
    card = attention_impls.load("softmax").card
    told = Attention(**{**vars(card), "paper": "no paper", "equations": "O = V"})
    assert told.papers == ()
    assert told.formulas == (Equation("", "", "O = V"),)
    assert Attention(**{**vars(card), "equations": ""}).formulas == ()


def test_the_pages_are_what_the_cards_say() -> None:
    for page, expected in (("README.md", readme()), ("references.bib", references())):
        written = (attention_impls.HERE / page).read_text(encoding="utf-8")
        assert written == expected, "run python -m attention_impls"


def test_every_paper_is_in_the_references_once() -> None:
    keys = re.findall(r"^@\w+\{(.*),$", references(), re.MULTILINE)
    assert keys == sorted({paper.key for papers in PAPERS.values() for paper in papers})
