"""`run_lra.py leaderboard`: tables and plots of all records."""
