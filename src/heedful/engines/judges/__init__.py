"""Whoever compares two answers: a model here, a preference model, a server; what it is asked, and the labels that come of it."""
