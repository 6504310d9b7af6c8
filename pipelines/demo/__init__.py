"""The little models that ship with Darkroom, and the code that trained them."""
