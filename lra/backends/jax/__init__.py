"""The encoder and its step in Flax NNX and Optax."""
