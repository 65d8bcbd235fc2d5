"""Requests that ask for harm, known and new, put to a model; the harm of its answers."""
