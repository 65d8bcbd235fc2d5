"""Records, artifacts, recipes: everything that goes to disk and comes back. No tensors, no torch."""
