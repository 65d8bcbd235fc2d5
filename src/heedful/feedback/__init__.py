"""The labelers' room: where answers are kept, who is asked what, whom to trust, and what goes from answers into training.

    the store       tables, schema, migrations; database, group_commit; backups, copies; journal
    who and what    accounts, projects, tasks, imports, gold, messages
    asking          queue (what is next), leases (whose it is), probes (gold, repeats), answers, answer_rules, practice;
                    texts, opaque (what completions are called on the wire)
    managing        overview, inspection, labeler_record, task_search: what pages show; rulings, reopening
    whom to trust   quality, quality_causes on records; on the store reviews, flags, scores, habits, findings (all together);
                    answered, review_answers: what they read
    going out       releases (answers to records), downloads and parquet (records to files), exports (records to preferences)
    coming in       rounds (a recipe's), simulated, ranking_files, foreign_rankings

Never imports torch. Nothing is imported here, so that each part starts alone.
"""
