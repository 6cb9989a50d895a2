"""Operations that several mechanisms share, each written once a framework."""
