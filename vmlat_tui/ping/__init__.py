"""One ping between two VMs, seen by several observers at once, or read from their files."""
