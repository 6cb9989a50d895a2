"""Many runs: a plan of them, engines that run them, and leases that keep two processes from the same run."""
