"""Network interfaces: what each is, its hardware, its settings."""
