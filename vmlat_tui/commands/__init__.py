"""One module a command: its arguments, what it calls, its exit status."""
