"""A measurement as it is remembered: frames in, moments and spans of time out."""
