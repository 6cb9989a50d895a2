"""The sweep's worker with short intervals, so that there is a snapshot soon and an orphan ends soon."""

from __future__ import annotations

from lra.core.workers import serve
from lra.sweep import lease
from lra.sweep.worker import answer
from lra.training import loop

if __name__ == "__main__":
    loop.SNAPSHOT_SECONDS = 0.2
    lease.BEAT = 0.3
    serve(answer)
