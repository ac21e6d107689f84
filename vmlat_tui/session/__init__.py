"""Where frames come from: a local agent now; ssh and files later."""
