"""What watches a run: the table of monitors, their columns, alerts, gold, the best checkpoint, the answers that are kept."""
