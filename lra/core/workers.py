"""Child processes of this program: each answers lines of JSON on a pipe of its own, apart from all that is printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lra.core.allocator import keep_buffers
from lra.core.documents import json_text, parse_json
from lra.core.environment import ROOT


def ending_signals() -> list[signal.Signals]:
    """The signals that ask this process to end; a closed terminal does not where `nohup` started it."""
    asked = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return [number for number in asked if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


class Child:
    """A process that runs `serve` of a module, in a session of its own: what ends it comes from this process."""

    def __init__(
        self, module: str, *, visible: bool, log: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """`visible`: it prints where this process does; else what it prints is kept for `last_words`.

        A `log` gets it instead, at its end. `environment` adds variables to those of this process.
        """
        self._printed: Any = None
        if not visible:
            self._printed = tempfile.TemporaryFile() if log is None else log.open("ab+")  # noqa: SIM115 - read later
        receiving, sending = os.pipe()
        self._answers = os.fdopen(receiving, "rb")
        self._process = subprocess.Popen(
            # -P: a folder called tasks where the user stands is none of ours
            [sys.executable, "-P", "-m", module, str(sending)],
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=self._printed,
            env={**os.environ, **(environment or {}), "PYTHONPATH": python_path()},
            pass_fds=(sending,),
            start_new_session=True,
        )
        os.close(sending)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """The pipe of its answers, for `select`: it can be read where there is an answer, and where it has died."""
        return self._answers.fileno()

    def ask(self, order: Any) -> Any:
        """The answer to an order, both plain values; None where the process has died."""
        self.send(order)
        return self.receive()

    def send(self, order: Any) -> None:
        """Give it an order, without waiting for the answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `receive` says that it has died
            self._process.stdin.write(json_text(order).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for the answer to an order; None where the process has died."""
        line = self._answers.readline()
        return parse_json(line.decode(), "a worker's answer") if line.endswith(b"\n") else None

    def terminate(self) -> None:
        """Ask it to end: a run in training saves first."""
        self._process.terminate()

    def end(self) -> int:
        """Close the pipe, on which it ends by itself unless it is at work, and wait for it; its exit code."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # of an order that it did not live to read
            self._process.stdin.close()
        code = self._process.wait()
        self._answers.close()
        return code

    def kill(self) -> int:
        """End it at once; its exit code, which is the negative signal where it had not died before."""
        self._process.kill()
        self._process.communicate()
        self._answers.close()
        return self._process.returncode

    def last_words(self) -> list[str]:
        """The lines that it printed, unless they were visible."""
        if self._printed is None:
            return []
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace").strip().splitlines()

    @contextmanager
    def taken_along(self) -> Iterator[Callable[[], bool]]:
        """Inside, a signal that asks this process to end ends the child instead; yields whether one came.

        Ctrl-Z pauses both. The child gets SIGTERM, which ends a Python that is still starting without a word.
        """
        seen: list[int] = []

        def pass_on(number: int, frame: Any) -> None:
            seen.append(number)
            self._process.terminate()

        handlers = dict.fromkeys(ending_signals(), pass_on)
        former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            with paused_together(lambda: [self]):
                yield lambda: bool(seen)
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def hold(self) -> None:
        """Stop it where it is, until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End what `hold` began."""
        self._process.send_signal(signal.SIGCONT)


def python_path() -> str:
    """PYTHONPATH with which another Python finds this program, installed or not."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


@contextmanager
def paused_together(children: Callable[[], Iterable[Child]]) -> Iterator[None]:
    """Inside, Ctrl-Z pauses these children too: they are in sessions of their own, where a terminal reaches none."""

    def pause(number: int, frame: Any) -> None:
        held = list(children())
        for child in held:
            child.hold()
        os.kill(os.getpid(), signal.SIGSTOP)  # returns when the user's shell has continued this process
        for child in held:
            child.go_on()

    former = signal.signal(signal.SIGTSTP, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, former)


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer orders until the parent closes the pipe; the number of the pipe for answers is the first argument."""
    keep_buffers()
    parent = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    with suppress(BrokenPipeError), parent as answers:  # of a parent that was killed
        for line in sys.stdin:
            answers.write(json_text(answer(parse_json(line, "an order"))) + "\n")
            answers.flush()
