"""What ends a command: one line on standard error, and the exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from attention_impls.base import AttentionError
from lra.core.errors import UserError
from tasks.base import TaskError


def told(action: Callable[[], int]) -> int:
    """The exit code of an action: its own, 1 failed, 2 asked for the impossible, 130 asked to end.

    SIGTERM and a closed terminal end it in good order, as Ctrl-C does.
    """
    former = {}
    if threading.current_thread() is threading.main_thread():
        ending = (signal.SIGTERM, signal.SIGHUP)
        former = {number: signal.signal(number, signal.default_int_handler) for number in ending}
    try:
        return action()
    except (UserError, TaskError, AttentionError) as error:
        return fail(str(error), 2)
    except MemoryError as error:
        return fail(f"not enough memory: {error or 'nothing is left'}: take a smaller model, batch or length", 1)
    except KeyboardInterrupt:
        return fail("stopped; nothing half-written is left", 130)
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def fail(message: str, code: int) -> int:
    """Print an error in one line; the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
