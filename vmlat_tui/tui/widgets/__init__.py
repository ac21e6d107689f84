"""What screens are put together of."""
