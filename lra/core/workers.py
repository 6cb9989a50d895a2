"""Child processes of this program. Each answers orders by lines of JSON on its own pipe, apart from printed text."""

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
    """Signals that ask this process to end. A closed terminal is not among them if `nohup` started the process."""
    asked = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return [number for number in asked if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


def how_ended(code: int) -> str:
    """A process's exit code in words: "exit code 7", or the signal that ended it, such as SIGKILL."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # most real-time signals have no name
        return f"signal {-code}"


class Child:
    """A process that runs `serve` of a module. It has its own session, so only this process ends it."""

    def __init__(
        self, module: str, *, visible: bool, log: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the process.

        Args:
            module: The module whose `serve` it runs.
            visible: Print where this process prints. Otherwise the output is kept for `last_words`.
            log: A file to which the output is appended instead.
            environment: Variables that are added to those of this process.
        """
        self._printed: Any = None
        if not visible:
            self._printed = tempfile.TemporaryFile() if log is None else log.open("ab+")  # noqa: SIM115 - read later
        receiving, sending = os.pipe()
        # Without a buffer, which would hide a second answer from `select`.
        self._answers = os.fdopen(receiving, "rb", buffering=0)
        self._process = subprocess.Popen(
            # -P: a folder named tasks in the user's directory must not be imported
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
        """The process id."""
        return self._process.pid

    def fileno(self) -> int:
        """The pipe of answers, for `select`. It is readable after an answer, and after the process has ended."""
        return self._answers.fileno()

    def ask(self, order: Any) -> Any:
        """Send an order and wait for its answer; both are plain values. None if the process has ended."""
        self.send(order)
        return self.receive()

    def send(self, order: Any) -> None:
        """Send an order without waiting for the answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `receive` reports that the process has ended
            self._process.stdin.write(json_text(order).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for the answer to an order. None if the process has ended."""
        line = self._answers.readline()
        return parse_json(line.decode(), "a worker's answer") if line.endswith(b"\n") else None

    def terminate(self) -> None:
        """Ask the process to end. A run in training first saves a snapshot."""
        self._process.terminate()

    def end(self) -> int:
        """Close the pipe, wait until the process ends, and return its exit code. An order at work is finished first."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # an order was never read, since the process had ended
            self._process.stdin.close()
        code = self._process.wait()
        self._answers.close()
        return code

    def kill(self) -> int:
        """Kill the process. Returns its exit code: the negative signal, unless it had ended before."""
        self._process.kill()
        self._process.communicate()
        self._answers.close()
        return self._process.returncode

    def last_words(self) -> list[str]:
        """The lines that the process printed, unless they were visible."""
        if self._printed is None:
            return []
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace").strip().splitlines()

    @contextmanager
    def taken_along(self) -> Iterator[Callable[[], bool]]:
        """Within this context, a signal that asks this process to end goes to the child. Yields whether one came.

        Ctrl-Z pauses both processes. The child gets SIGTERM, which also ends a Python that is still starting.
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
        """Pause the process until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue the process after `hold`."""
        self._process.send_signal(signal.SIGCONT)


def python_path() -> str:
    """The PYTHONPATH with which a child process finds this program, installed or not."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


@contextmanager
def paused_together(children: Callable[[], Iterable[Child]]) -> Iterator[None]:
    """Within this context, Ctrl-Z pauses the children too. They have their own sessions, which no terminal reaches."""

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
    """Answer orders until the parent closes the pipe. The first argument is the file descriptor for answers."""
    keep_buffers()
    parent = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    with suppress(BrokenPipeError), parent as answers:  # the parent was killed
        for line in sys.stdin:
            answers.write(json_text(answer(parse_json(line, "an order"))) + "\n")
            answers.flush()
