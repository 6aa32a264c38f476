"""Media: pictures and clips, from the bytes of a file to what a vision model takes."""
