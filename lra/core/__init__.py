"""What everything above builds on: configuration, identity, errors, files, the machine."""
