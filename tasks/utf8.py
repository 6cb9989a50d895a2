"""Texts as tokens: each byte of UTF-8 plus one, since 0 is padding."""

LAST_BYTE = 0xF4  # the greatest byte of UTF-8
VOCAB = LAST_BYTE + 2
