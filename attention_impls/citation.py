"""A publication in fields, and what is printed of them: a line of text, a key, an entry of BibTeX."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

VENUES = {
    "AAAI": "Proceedings of the AAAI Conference on Artificial Intelligence",
    "ACM MM": "Proceedings of the ACM International Conference on Multimedia",
    "COLM": "Conference on Language Modeling",
    "ECCV": "European Conference on Computer Vision",
    "ICCV": "Proceedings of the IEEE/CVF International Conference on Computer Vision",
    "ICLR": "International Conference on Learning Representations",
    "ICML": "Proceedings of the International Conference on Machine Learning",
    "NAACL": (
        "Proceedings of the Conference of the North American Chapter of the Association for Computational Linguistics"
    ),
    "NeurIPS": "Advances in Neural Information Processing Systems",
    "WACV": "Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision",
}
"""The long names of the venues that a citation names by their short ones."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """One publication. Names and titles are spelt as its venue prints them."""

    authors: str
    """All of them, given names first, in the paper's order: "Ada Lovelace, Charles Babbage"."""
    title: str
    venue: str = ""
    """The short name of where it was published, one of VENUES or another; empty for a preprint."""
    year: int
    """The year of the venue, or of the first version of a preprint."""
    arxiv: str = ""
    """The number alone: "1706.03762"."""
    doi: str = ""
    pages: str = ""

    @property
    def names(self) -> list[str]:
        """The authors one by one."""
        return self.authors.split(", ")

    @property
    def byline(self) -> str:
        """Surnames for a line of text: one, two, or the first "et al."."""
        first, *others = (name.split()[-1] for name in self.names)
        return f"{first} et al." if len(others) > 1 else " and ".join([first, *others])

    @property
    def key(self) -> str:
        """The first surname, the year and the first word of the title, in ASCII: vaswani2017attention."""
        words = f"{self.names[0].split()[-1]} {self.year} {self.title.split()[0]}"
        ascii_only = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
        return re.sub(r"[^a-z0-9]", "", ascii_only.lower())

    @property
    def url(self) -> str:
        """Where it can be read: at arXiv, else by its DOI; empty where neither is known."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else ""

    def __str__(self) -> str:
        """One line: who, what, where, when, and its arXiv number."""
        published = f"{self.venue} {self.year}" if self.venue else ""
        number = f"arXiv {self.arxiv}" if self.arxiv else f"doi {self.doi}" if self.doi else ""
        return ", ".join(part for part in (self.byline, self.title, published or str(self.year), number) if part)

    def bibtex(self) -> str:
        """The entry, in UTF-8; two braces keep the title's capitals."""
        fields = {
            "author": " and ".join(self.names),
            "title": f"{{{self.title}}}",
            "booktitle": VENUES.get(self.venue, self.venue),
            "year": str(self.year),
            "pages": self.pages.replace("–", "--"),
            "doi": self.doi,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{'inproceedings' if self.venue else 'misc'}{{{self.key},", *lines, "}"])
