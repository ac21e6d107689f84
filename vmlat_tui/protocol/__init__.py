"""What an agent and its other side say to each other: commands one way, frames the other."""
