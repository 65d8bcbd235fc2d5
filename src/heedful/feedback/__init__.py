"""The labelers' room: their quality, simulated ones, files of rankings, and what goes from their answers into training.

Never imports torch. Nothing is imported here, so that each part starts alone.
"""
