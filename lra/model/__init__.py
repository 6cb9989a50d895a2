"""The inputs of both frameworks: blueprint, initial weights, batches, padding, schedule, dropout."""
