"""Budgets of processor time, in seconds, children included, so that the tests' time grows with the zoo alone.

A test that is not `slow` may use TEST, all laws and parity tests of one variant in one framework together VARIANT.
LRA_TEST_SECONDS sets another limit for a test, and in proportion for a variant; 0 switches both off.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import pytest

TEST = 10.0
VARIANT = 10.0
STARTED = pytest.StashKey[float]()
shared: list[float] = []
SECONDS, OF = "processor_seconds", "variant"


def limit() -> float:
    """The limit for a test; 0 is none."""
    return float(os.environ.get("LRA_TEST_SECONDS", TEST))


def spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def parameters(item: pytest.Item) -> dict[str, object]:
    """What a test is parametrised with."""
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}


def case(item: pytest.Item) -> str:
    """The variant of a mechanism that a test is about; empty where it is about none."""
    return str(parameters(item).get("case", ""))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    shared.clear()
    item.stash[STARTED] = spent()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    """What is prepared for many tests is charged to none of them."""
    before = spent()
    value = yield
    if fixturedef.scope != "function":
        shared.append(spent() - before)
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    used = spent() - item.stash[STARTED] - sum(shared)
    item.user_properties += [
        (SECONDS, used),
        (OF, f"{case(item)}-{parameters(item).get('backend', 'all')}" if case(item) else ""),
    ]
    if 0 < limit() < used and item.get_closest_marker("slow") is None:
        pytest.fail(
            f"{item.nodeid} used {used:.1f} s of processor time, at most {limit():g} s expected: "
            "make it cheaper, or mark it slow",
            pytrace=False,
        )


class Totals:
    """What files and variants used, added up in the process that hears of every test."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.variants: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        if report.when == "call" and SECONDS in properties:
            self.files[report.nodeid.split("::")[0]] += properties[SECONDS]
            self.variants[properties[OF]] += properties[SECONDS]

    def too_dear(self) -> dict[str, float]:
        """The variants over their budget."""
        most = limit() * VARIANT / TEST
        return {name: seconds for name, seconds in self.variants.items() if name and 0 < most < seconds}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.too_dear() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.files:
            return
        dearest = ", ".join(f"{file} {seconds:.0f}" for file, seconds in self.files.most_common(5))
        terminalreporter.write_line(f"processor seconds: {sum(self.files.values()):.0f} in all; most in {dearest}")
        for name, seconds in self.too_dear().items():
            terminalreporter.write_line(
                f"FAILED {name}: {seconds:.1f} s, {limit() * VARIANT / TEST:g} s a variant expected"
            )
