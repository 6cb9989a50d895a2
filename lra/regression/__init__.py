"""The regression test, `run_lra.py check`: accuracy, first losses and throughput against baselines."""
