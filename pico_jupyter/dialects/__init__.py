"""Translates bodies of both HTTP dialects to requests, and deltas to responses. No I/O, time or randomness."""
