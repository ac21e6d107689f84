"""Text and JSON for people and programs; from frames only."""
