"""How a process reaches its agent: on this host, or over ssh with the agent's own files."""
