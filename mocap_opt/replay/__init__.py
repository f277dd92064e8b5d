"""What plans cost: replays that price decisions from the integer tables alone."""
