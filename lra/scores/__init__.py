"""Records as numbers: rows and columns, speeds, statistics, tables."""
