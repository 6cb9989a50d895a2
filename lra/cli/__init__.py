"""The command line: argv -> typed arguments -> a verb."""
