"""The gates themselves: the kept caches, the budgets, the needs that may not be lacking."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import budget
import caches
import pytest
import required

ROOT = Path(__file__).parents[1]
COMPILES = """
import sys
sys.path.insert(0, "tests")
import caches
caches.keep()
import jax
from jax._src import monitoring
missed = []
monitoring.register_event_listener(lambda name, **_: missed.append(name) if name.endswith("/cache_misses") else None)
from attention_cases import cases, measured
measured(next(case for case in cases() if case.name == "linear"), "jax")
print(len(missed))
"""


def pytest_in(folder: Path, body: str, *words: str, workers: int = 0, **environment: str) -> tuple[int, str]:
    """Exit code and output of pytest on a file of that body, with the budget's plugin alone."""
    (folder / "test_it.py").write_text(body)
    (folder / "conftest.py").write_text(
        "import budget\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'slow')\n"
        "    config.pluginmanager.register(budget)\n"
        "    if not hasattr(config, 'workerinput'):\n"
        "        config.pluginmanager.register(budget.Totals())\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), *words, "test_it.py"]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    result = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True, text=True
    )
    return result.returncode, result.stdout


BUSY = """
import time
def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
"""


def test_an_unchanged_second_run_compiles_nothing(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"LRA_TEST_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    missed = [
        int(subprocess.check_output([sys.executable, "-c", COMPILES], cwd=ROOT, env=environment, text=True))
        for _ in range(2)
    ]
    assert missed[0] > 0
    assert missed[1] == 0


def test_the_oldest_programs_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_TEST_CACHE", str(tmp_path))
    for name in ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(caches, "LIMIT_BYTES", 25)
    xla = tmp_path / f"xla-{caches.key()}"
    xla.mkdir()
    for age, name in enumerate(("new", "middle", "old")):
        (xla / f"{name}-cache").write_bytes(bytes(10))
        os.utime(xla / f"{name}-cache", (1000 - age, 1000 - age))
    caches.keep()
    assert sorted(path.name for path in xla.iterdir()) == ["middle-cache", "new-cache"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_test_over_the_budget_fails_and_is_named(tmp_path: Path, workers: int) -> None:
    body = BUSY + "import pytest\ndef test_long(): busy(0.5)\n@pytest.mark.slow\ndef test_slow(): busy(0.5)\n"
    code, out = pytest_in(tmp_path, body, workers=workers, LRA_TEST_SECONDS="0.3")
    assert code == 1
    assert "test_it.py::test_long used 0.5 s of processor time, at most 0.3 s expected" in out
    assert "1 failed, 1 passed" in out


def test_children_count_and_shared_fixtures_do_not(tmp_path: Path) -> None:
    body = BUSY + (
        "import pytest, subprocess, sys\n"
        "@pytest.fixture(scope='module')\ndef shared(): busy(0.5)\n"
        "def test_shared(shared): pass\n"
        "def test_child(): subprocess.run([sys.executable, '-c', 'import test_it; test_it.busy(0.5)'])\n"
    )
    code, out = pytest_in(tmp_path, body, LRA_TEST_SECONDS="0.3")
    assert code == 1
    assert "test_child used" in out
    assert "1 failed, 1 passed" in out


def test_a_variant_over_its_budget_fails_the_session(tmp_path: Path) -> None:
    body = BUSY + (
        "import pytest\n@pytest.mark.parametrize('n', range(4))\n"
        "@pytest.mark.parametrize(('case', 'backend'), [('mine', 'jax')])\n"
        "def test_law(case, backend, n): busy(0.2)\n"
    )
    code, out = pytest_in(tmp_path, body, LRA_TEST_SECONDS="0.5")
    assert code == 1
    assert "4 passed" in out
    assert "FAILED mine-jax: 0.8 s, 0.5 s a variant expected" in out
    assert pytest_in(tmp_path, body, LRA_TEST_SECONDS="0")[0] == 0


@pytest.mark.parametrize(
    ("named", "outcome"),
    [("", pytest.skip.Exception), ("data", pytest.skip.Exception), ("data,browser", pytest.fail.Exception)],
)
def test_a_required_need_may_not_be_lacking(
    named: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRA_REQUIRE", named)
    with pytest.raises(outcome, match="no Chromium"):
        required.lacking("browser", "no Chromium here")


def test_an_unknown_need_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_REQUIRE", "data,gpus")
    with pytest.raises(pytest.UsageError, match="gpus; expected: browser, data"):
        required.required()


def variants(calls: Sequence[tuple[str, float]]) -> dict[str, float]:
    """What Totals calls too dear after reports of those variants and seconds."""
    totals = budget.Totals()
    for name, seconds in calls:
        report = pytest.TestReport(
            "f.py::t",
            ("f.py", 0, "t"),
            {},
            "passed",
            None,
            "call",
            user_properties=[(budget.SECONDS, seconds), (budget.OF, name)],
        )
        totals.pytest_runtest_logreport(report)
    return totals.too_dear()


def test_totals_add_up_by_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_TEST_SECONDS", "10")
    assert variants([("a-jax", 6), ("b-jax", 6), ("a-jax", 5), ("", 99)]) == {"a-jax": 11}


@pytest.mark.slow
def test_the_named_faults_are_in_the_code_as_it_is() -> None:
    from tests.evidence.mutants import file_of, random_mutants
    from tests.evidence.mutations import FAULTS

    for mutant in (*FAULTS, *random_mutants(ROOT, 30, 0)):
        source = file_of(mutant, ROOT).read_text(encoding="utf-8")
        assert mutant.applied(source) != source, mutant.name
