"""HTTP dialects: bytes to GenerationRequest, deltas to bytes. Pure; no I/O, no time, no randomness."""
