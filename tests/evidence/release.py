"""Whether the repository is ready for a tag, and what the release says: `python -m tests.evidence.release v0.1.0`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import yaml

from lra.core.environment import ROOT


def notes(tag: str, root: Path = ROOT) -> str:
    """The changelog's part on this version. ValueError where a file names another version, or none."""
    version = tag.removeprefix("v")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    code = re.search(
        r'^__version__ = "(.*)"$', (root / "lra" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    named = {"pyproject.toml": project, "lra/__init__.py": code[1] if code else None, "CITATION.cff": citation}
    wrong = {name: found for name, found in named.items() if found != version}
    if wrong:
        raise ValueError(f"tag {tag}, but {wrong}: write {version} there, or tag what they say")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    part = re.search(rf"^## {re.escape(version)} .*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if part is None:
        raise ValueError(f"tag {tag}, but CHANGELOG.md has no '## {version} (date)': write what is new")
    return part[1].strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
