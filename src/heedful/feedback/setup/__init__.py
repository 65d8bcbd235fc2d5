"""Who is there and what is asked: accounts, projects, tasks and their imports, gold, messages, rulings.

`texts` and `answer_rules` say what completions and answers may be.
"""
