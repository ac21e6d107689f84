"""Sessions in files: written, read, and replayed in their time."""
