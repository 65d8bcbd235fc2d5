"""Report pages, charts and tables: plain values in, HTML out. Imports no stage, opens no artifact."""
