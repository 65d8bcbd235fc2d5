"""Small games with rules of their own, batched: a bandit and tic-tac-toe. They return the same table as text does."""
