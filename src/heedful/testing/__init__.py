"""Parts to test with, for us and for users: tiny models, and artifacts made from records."""
