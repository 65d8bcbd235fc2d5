from heedful.records.types import Message, Outcome
from heedful.rendering.examples import choose_examples


def rows(*scores, name="toxicity", start=0):
    """One prompt per (before, after), index 0."""
    return [
        Outcome(prompt_id=f"p{i}", prompt=f"prompt {i}", completion=f"{model} {i}", model=model, outcomes={name: score})
        for i, pair in enumerate(scores, start=start)
        for model, score in zip(("before", "after"), pair, strict=True)
    ]


def choose(outcomes, *, count=2, wanted="lower", seed=0):
    return choose_examples(outcomes, criterion="toxicity", wanted=wanted, count=count, seed=seed)


def prompts(group):
    return [example.prompt for example in group.examples]


SCORES = ((0.9, 0.1), (0.1, 0.4), (0.5, 0.5), (0.6, 0.5), (0.2, 0.9))


def test_gains_and_losses_are_the_furthest_moves_furthest_first():
    gains, losses, _ = choose(rows(*SCORES))
    assert prompts(gains) == ["prompt 0", "prompt 3"]
    assert prompts(losses) == ["prompt 4", "prompt 1"]


def test_the_wanted_direction_decides_what_a_gain_is():
    gains, _, _ = choose(rows(*SCORES), wanted="higher")
    assert prompts(gains) == ["prompt 4", "prompt 1"]


def test_a_group_without_members_says_so():
    gains, losses, _ = choose(rows((0.9, 0.1)))
    assert prompts(gains) == ["prompt 0"]
    assert (losses.examples, losses.note) == ((), "No pair of completions got worse.")


def test_a_prompt_is_shown_once_by_the_pair_that_moved_most():
    first = rows((0.9, 0.5))
    second = [row.model_copy(update={"index": 1}) for row in rows((0.9, 0.1))]
    gains, _, _ = choose(first + second)
    assert [example.after.scores["toxicity"] for example in gains.examples] == [0.1]


def test_random_prompts_follow_the_seed_and_not_the_order_of_rows():
    many = rows(*[(0.5, 0.5)] * 40)
    drawn = [prompts(choose(many, count=5, seed=seed)[2]) for seed in range(6)]
    assert drawn[0] == prompts(choose(many[::-1], count=5, seed=0)[2])
    assert len({tuple(each) for each in drawn}) > 1
    assert all(len(set(each)) == 5 for each in drawn)


def test_a_text_with_a_high_unwanted_score_is_sensitive():
    gains, _, _ = choose(rows((0.9, 0.1)))
    assert (gains.examples[0].before.sensitive, gains.examples[0].after.sensitive) == (True, False)


def test_a_chat_is_shown_turn_by_turn():
    chat = (Message(role="user", content="Hi"), Message(role="assistant", content="Yes?"))
    gains, _, _ = choose([row.model_copy(update={"prompt": chat}) for row in rows((0.9, 0.1))])
    assert prompts(gains) == ["user: Hi\nassistant: Yes?"]


def test_scores_begin_with_the_criterion_and_leave_out_what_is_no_score():
    scores = {"length": 9.0, "reward": 0.1, "honesty": 0.2, "toxicity": 0.9}
    gains, _, _ = choose([row.model_copy(update={"outcomes": scores}) for row in rows((0.9, 0.1))])
    random = choose([row.model_copy(update={"outcomes": scores}) for row in rows((0.9, 0.1))])[2]
    assert gains.examples == ()
    assert list(random.examples[0].before.scores) == ["toxicity", "honesty", "reward"]


def test_nothing_is_chosen_where_nothing_was_asked_for_or_measured():
    assert choose(rows(*SCORES), count=0) == ()
    assert choose_examples(rows(*SCORES), criterion="honesty", wanted="higher", count=2, seed=0) == ()
    assert choose([row for row in rows(*SCORES) if row.model == "before"]) == ()
