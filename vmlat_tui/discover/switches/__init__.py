"""Switches, and the ways that packets take through them."""
