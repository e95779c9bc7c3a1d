"""What a diagnosis finds: its record, and what is looked for in a game with a discriminator."""
