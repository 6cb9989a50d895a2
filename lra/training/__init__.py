"""One run, or several seeds of it: from its description to its record."""
