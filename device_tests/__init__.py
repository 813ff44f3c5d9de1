"""Device tests: a board, a model, and the proof that they agree."""
