"""Records of others: one that names a mechanism's folder runs nothing of it, a file of macOS is none."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from board_records import made, put

from lra.cli.main import main


def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A mechanism's folder, and the file that is there once any of its code has run."""
    folder, ran = tmp_path / "trap", tmp_path / "ran"
    folder.mkdir()
    for name in ("__init__.py", "torch_impl.py", "jax_impl.py", "reference.py"):
        (folder / name).write_text(f"open({str(ran)!r}, 'w').close()\n")
    return folder, ran


def test_printing_a_configuration_never_imports_a_mechanism_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ran = trap(tmp_path)
    assert main(["--task", "listops", "--attn", "linear", "--print-config"]) == 0
    given = tmp_path / "given.yaml"
    given.write_text(capsys.readouterr().out.replace("attn: linear", f"attn: {folder}"), encoding="utf-8")
    assert main(["--config", str(given), "--print-config"]) == 2
    assert f"add --attn {folder} if you trust it" in capsys.readouterr().err
    assert not ran.exists()


@pytest.mark.parametrize("verb", ["leaderboard", "report"])
def test_tables_never_import_a_mechanism_that_a_record_names(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ran = trap(tmp_path)
    usual = made("listops", "linear", 0.5)
    record = replace(usual, attn=str(folder), config=usual.config | {"attn": str(folder)})
    (tmp_path / "runs").mkdir()
    put(asdict(record), tmp_path / "runs" / "a.json")
    put(asdict(made("listops", "softmax", 0.5)), tmp_path / "runs" / "b.json")
    for place in ("runs", "bench"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "._a.json").write_bytes(b"\0\xb0")  # which macOS puts beside every file
    assert main([verb, "--results", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "left out" not in said.err
    assert not ran.exists()
    written = tmp_path / ("report.html" if verb == "report" else "LEADERBOARD.md")
    assert "trap" in written.read_text(encoding="utf-8")
