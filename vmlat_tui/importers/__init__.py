"""Readers of what other tools and earlier measurements left in files; every one gives readings."""
