"""The base of all other packages: configuration, identity, errors, files, the machine."""
