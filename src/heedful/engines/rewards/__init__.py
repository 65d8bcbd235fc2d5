"""Reward models: what they learn from, their ensembles, how sure they may be, their report, the gate before a run."""
