"""A run becomes a bundle: `card` writes the page about it, `bundle` lays it out and verifies it."""
