"""A family of instances of four sizes and six variants, and what the methods do on them."""
