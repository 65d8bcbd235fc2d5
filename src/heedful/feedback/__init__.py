"""The labelers' room: where answers are kept, who is asked what, whom to trust, and what goes from answers into training.

    managing    what a manager's pages show
    trust       whom to trust: quality of labelers, on records and on the store
    exchange    answers out as records and files; rounds, simulated labelers and foreign rankings in
    asking      what is next, whose it is, what was answered, practice
    setup       accounts, projects, tasks, gold, messages, rulings
    store       tables, schema, migrations, database, backups, journal

Imports point down. Never imports torch. Nothing is imported here, so that each part starts alone.
"""
