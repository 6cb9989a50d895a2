"""What both frameworks are given: blueprint, first weights, batches, padding, schedule, dropout."""
