"""Image files as containers: what is around the pixels, counted and left out before a decoder sees the file."""
