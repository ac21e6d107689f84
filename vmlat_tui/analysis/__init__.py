"""What the figures and the settings mean; pure functions on the model."""
