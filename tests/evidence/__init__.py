"""Evidence that what is generated here is what the originals generate: run a module to print its table."""
