"""What a visitor meets: forms that the host can read, and a release that names one version."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from lra import __version__
from lra.core.environment import ROOT
from tests.evidence.release import notes

FORMS = [path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]
FILES = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "lra/__init__.py")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    fields = [each for each in form["body"] if each["type"] in ("input", "textarea", "checkboxes")]
    assert len({each["id"] for each in fields}) == len(form["body"])
    assert all(each["attributes"]["label"] for each in fields)
    assert any(each.get("validations", {}).get("required") for each in fields)


def test_files_for_visitors_name_files_that_exist() -> None:
    texts = [
        path.read_text(encoding="utf-8") for path in (ROOT / ".github").rglob("*.*") if path.suffix in (".md", ".yml")
    ]
    named = set(re.findall(r"\bdocs/pages/[\w/-]+\.md\b", "".join(texts)))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_container_is_json() -> None:
    assert json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))["image"]


def test_a_release_has_notes_and_one_version(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert "float64 reference" in notes(f"v{__version__}", tmp_path)
    with pytest.raises(ValueError, match=r"tag v9\.9\.9, but .*pyproject\.toml.*CITATION\.cff"):
        notes("v9.9.9", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"CHANGELOG\.md has no"):
        notes(f"v{__version__}", tmp_path)
