"""What the terminal gives and gets: flags, tables, and the one line and exit code that end a command."""
