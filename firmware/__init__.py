"""The C and templates that firmware projects are made of."""
