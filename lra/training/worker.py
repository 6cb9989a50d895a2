"""A child process that trains the runs of one job. Orders and answers are plain values."""

from __future__ import annotations

from typing import Any

from lra.core.workers import serve
from lra.terminal.failures import told
from lra.training.session import Job, train_job


def answer(order: Any) -> dict[str, Any]:
    """Train the job that the order describes. Returns the exit code and the paths of the records."""
    left: list[str] = []

    def train() -> int:
        code, paths = train_job(Job.from_values(order))
        left.extend(map(str, paths))
        return code

    return {"code": told(train), "records": left}


if __name__ == "__main__":
    serve(answer)
