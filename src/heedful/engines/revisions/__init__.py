"""Critique and revision: the rounds, the writer, the gates, the harm of every round."""
