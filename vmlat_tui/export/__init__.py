"""What vmlat knows, as text, Markdown and JSON: for people and programs, without screens."""
