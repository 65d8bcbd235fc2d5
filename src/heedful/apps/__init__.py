"""Doors: parse, call, show. Nothing here knows how a model learns."""
