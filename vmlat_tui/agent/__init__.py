"""The process around probes and discovery: commands in, frames out."""
