"""The encoder and its step in PyTorch."""
