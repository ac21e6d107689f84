"""Rows and columns by subject, for the screens and the exports; no input, no output."""
