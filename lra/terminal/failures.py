"""The end of a command: one line on standard error, and the exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attention_impls.base import AttentionError
from lra.core.errors import DeviceFailed, UserError, is_out_of_memory, of_file, shortened
from lra.core.workers import ending_signals
from lra.terminal.console import abandon_streams
from tasks.base import TaskError


def told(action: Callable[[], int]) -> int:
    """Run an action and return its exit code; errors give 1 (failed), 2 (wrong use) or 130 (stopped).

    SIGTERM, a closed terminal and a closed pipe end it in good order, as Ctrl-C does.
    """
    with _interrupted_by_all():
        try:
            try:
                return _told(action)
            finally:
                sys.stdout.flush()  # what is still in it may have no reader either
        except BrokenPipeError:
            abandon_streams()
            return 130


@contextmanager
def _interrupted_by_all() -> Iterator[None]:
    """Within this context, SIGTERM and SIGHUP raise KeyboardInterrupt. Only the main thread can set handlers."""
    former = {}
    if threading.current_thread() is threading.main_thread():
        others = [number for number in ending_signals() if number != signal.SIGINT]
        former = {number: signal.signal(number, signal.default_int_handler) for number in others}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _told(action: Callable[[], int]) -> int:
    try:
        return action()
    except BrokenPipeError:
        raise
    except (UserError, TaskError, AttentionError) as error:
        return fail(str(error), 2)
    except DeviceFailed as error:
        return fail(str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return fail(f"not enough memory: {error or 'nothing is left'}: take a smaller model, batch or length", 1)
    except KeyboardInterrupt:
        return fail("stopped; nothing half-written is left", 130)
    except OSError as error:
        return fail(of_file(error), 1)


def fail(message: str, code: int) -> int:
    """Print an error in one line. Returns the exit code."""
    print(f"error: {shortened(' '.join(message.split()))}", file=sys.stderr)
    return code
