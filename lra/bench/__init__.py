"""The clock: what is timed, the processes that are timed, and what their samples say."""
