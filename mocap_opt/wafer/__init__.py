"""The machine: dies and links that are alive, routes between them, and the stages laid out on them."""
