"""Keys and certificates: the box's own authority, what its servers show, what devices get. DESIGN 4, 7."""
