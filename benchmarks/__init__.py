"""Side-by-side measurements. Not part of the wheel."""
