"""The store itself: tables, their schema and migrations, the database (with group commit), backups and copies, the journal.

Knows nothing of what is asked.
"""
