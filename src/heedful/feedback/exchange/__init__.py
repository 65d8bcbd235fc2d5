"""What goes out and comes in.

Out: releases (answers to records), downloads and parquet (records to files), exports (records to preferences). In: rounds (of a
recipe), simulated labelers, ranking_files and foreign_rankings (made elsewhere).
"""
