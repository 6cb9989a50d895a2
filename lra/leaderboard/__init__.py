"""The command `leaderboard`: tables and plots of all records."""
