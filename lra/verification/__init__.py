"""Records of others: what of a record can be checked, by computing it anew or by plain arithmetic."""
