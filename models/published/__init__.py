"""Labels that others released, read from the user's own copies: nothing of them is part of this package."""
