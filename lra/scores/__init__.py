"""From records to numbers: rows and columns, speeds, statistics, tables."""
