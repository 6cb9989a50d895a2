"""The documentation: each page has a place, each link of a page leads somewhere, and code stands there as it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import attention_impls
import tasks
from lra.cli.main import VERBS
from lra.core.environment import ROOT
from tests.documentation import MARK, PAGES, written

NAV = yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]


def places(nav: Any) -> Iterator[str]:
    """Every page that the navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from places(each)


def test_every_page_written_by_hand_has_a_place() -> None:
    assert set(written()) - set(places(NAV)) == set()


def test_guides_show_what_the_readme_shows() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    guides = written()["guides/your-model.md"] + written()["guides/add-attention.md"]
    blocks = re.findall(r"```(?:python|bash)\n(.*?)```", guides, re.DOTALL)
    assert len(blocks) == 4
    assert [block for block in blocks if block not in readme] == []


@pytest.mark.slow
def test_the_generated_pages_are_there(tmp_path: Path) -> None:
    known = {path: path.stat().st_mtime_ns for path in PAGES.rglob("*") if path.is_file()}
    copy = tmp_path / "pages"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--pages", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in PAGES.rglob("*") if path.is_file()} == known
    made = {path.relative_to(copy).as_posix(): path.read_text(encoding="utf-8") for path in copy.rglob("*.md")}
    assert all(text.endswith(f"{MARK}\n") for text in made.values())
    assert set(places(NAV)) - {*made, *written()} == set()
    for name in attention_impls.names():
        assert "<math" in made[f"reference/mechanisms/{name}.md"]
    assert all(f"\n## {name}\n" in made["reference/tasks.md"] for name in tasks.names())
    assert all(f"\n## {verb}\n" in made["reference/commands.md"] for verb in VERBS)
    assert (copy / "results" / "whole.html").stat().st_size > 100_000
    assert str(ROOT) not in "".join(made.values())


@pytest.mark.slow
def test_the_library_works_as_the_guide_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    (code,) = re.findall(r"```python\n(.*?)```", written()["guides/train.md"], re.DOTALL)
    where = f"results={str(tmp_path)!r}"
    code = code.replace('preset="smoke"))', f'preset="smoke"), {where})').replace(
        "load_records()", f"load_records({where})"
    )
    exec(code, {})
    assert "['elfatt']" in capsys.readouterr().out
