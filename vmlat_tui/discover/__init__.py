"""What is on this host.  In this issue: interfaces and their roles on the path."""
