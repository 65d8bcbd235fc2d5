"""Loops: sampling, rollouts, PPO, fitting, checkpoints, and what watches them."""
