"""Whom to trust: quality and quality_causes on records; on the store reviews, flags, scores, habits and findings, all together.

`answered` and `review_answers` are what they read.
"""
