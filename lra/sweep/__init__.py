"""Sweeps: plans of many runs, engines that perform them, and leases that keep two processes off the same run."""
