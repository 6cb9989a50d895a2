"""Input and output of the terminal: flags, tables, and the message and exit code that end a command."""
