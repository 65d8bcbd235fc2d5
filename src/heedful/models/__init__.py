"""Things with weights: policies, reward models, heads, adapters, and how they are loaded."""
