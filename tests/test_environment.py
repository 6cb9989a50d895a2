"""What a record says of the checkout: its commit, whoever owns it, or why that is not known."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lra.core import environment


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one commit, taken for the project's own."""
    root = tmp_path / "checkout"
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), *author, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    monkeypatch.setattr(environment, "ROOT", root)
    return root


def test_the_commit_is_told_and_whether_files_changed(checkout: Path) -> None:
    state = environment.git_state()
    assert (len(state["commit"]), state["clean"]) == (40, True)
    (checkout / "more.py").write_text("")
    assert environment.git_state() == {**state, "clean": False}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_checkout_of_another_user_has_its_commit(checkout: Path) -> None:
    known = environment.git_state()
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 1234, 1234)
    refused = subprocess.run(["git", "-C", str(checkout), "status"], capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr
    assert environment.git_state() == known


def test_where_git_cannot_tell_the_reason_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    state = environment.git_state()
    assert (state["commit"], state["clean"]) == (None, None)
    assert "not a git repository" in state["why"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_state()["why"] == "git is not installed"
