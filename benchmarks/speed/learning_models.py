"""What both sides learn on: a Llama of a million parameters that was fine-tuned, a reward model on it, and prompts in three parts.

    python benchmarks/speed/learning_models.py --out work/learning

The text is the generated household world: the policy is fine-tuned on its demonstrations, of which about 30 % are rude.
The reward model is fitted to what the world holds for good (its gold), on answers of the fine-tuned policy to the
training prompts, so that it is no better than a learned reward is; its scores of these have mean about 0 and sd 1. It
is an ordinary transformers sequence classifier with the policy's tokenizer, which is the form that TRL's PPO takes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from transformers import LlamaForSequenceClassification  # noqa: E402

from heedful.engines.generation import Sampled, sample  # noqa: E402
from heedful.engines.supervised import Lesson, lesson, target_logprobs  # noqa: E402
from heedful.models.loading import stop_ids  # noqa: E402
from heedful.models.policy import LanguagePolicy  # noqa: E402
from heedful.models.prompts import Renderer  # noqa: E402
from heedful.models.scratch import new_causal, train_tokenizer  # noqa: E402
from heedful.models.trunks import PromptTokens, make_trunk  # noqa: E402
from heedful.records.seeds import derive_seed  # noqa: E402
from heedful.worlds import get_world  # noqa: E402

SHAPE = {"hidden": 128, "layers": 4, "heads": 4, "intermediate": 384, "max_positions": 128}
VOCABULARY = 1000
RESPONSE = 56
LESSON_EPOCHS, LESSON_ROWS, LESSON_LR = 3, 16, 3e-3
JUDGE_EPOCHS, JUDGE_ROWS, JUDGE_LR, SAMPLES = 4, 32, 1e-3, 4
PROMPTS = "prompts.json"


def main() -> None:
    """Build what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, help="so many of each part, for a trial")
    args = parser.parse_args()
    if not (args.out / PROMPTS).is_file():
        build(args.out, args.prompts)


def build(folder: Path, limit: int | None = None) -> None:
    """Write `policy/` and `reward/`, both with the tokenizer, and then `prompts.json` (parts train, tune, heldout)."""
    world: Any = get_world("household")
    files = world.generate(0)
    demonstrations = files["train.demonstrations"][: limit and 4 * limit]
    tokenizer = train_tokenizer([text for d in demonstrations for text in (d.prompt, f" {d.completion}")], VOCABULARY)
    model = new_causal(tokenizer, seed=0, **SHAPE)
    renderer = Renderer.of(model, tokenizer)
    fine_tune(model, [lesson(renderer, row) for row in demonstrations])
    prompts = {part: [row.prompt for row in files[f"{part}.prompts"]][:limit] for part in ("train", "tune", "heldout")}
    policy = LanguagePolicy(model, renderer, stop=stop_ids(model, tokenizer))
    judge = judge_of(policy, world, prompts["train"])
    for kind, made in (("policy", model), ("reward", judge)):
        made.save_pretrained(str(folder / kind))
        tokenizer.save_pretrained(str(folder / kind))
    told = {
        part: [{"text": text, "tokens": renderer.prompt_ids(text)} for text in texts] for part, texts in prompts.items()
    }
    (folder / PROMPTS).write_text(json.dumps(told), encoding="utf-8")


def fit(
    parameters: Sequence[Tensor], count: int, loss: Callable[[list[int]], Tensor], *, epochs: int, rows: int, lr: float
) -> list[float]:
    """Minimise the mean `loss` of rows in shuffled minibatches, with a rate that falls to 0; return the losses."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.1)
    order = [index for epoch in range(epochs) for index in random.Random(epoch).sample(range(count), count)]
    steps = [order[first : first + rows] for first in range(0, len(order), rows)]
    losses = []
    for number, part in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (number + 1) / (0.05 * len(steps) + 1)) * (1 - number / len(steps))
        optimizer.zero_grad()
        value = loss(part)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(float(value.detach()))
        if number % 50 == 0 or number == len(steps) - 1:
            print(f"step {number + 1} of {len(steps)}: loss {losses[-1]:.3f}", flush=True)
    return losses


def fine_tune(model: Any, lessons: Sequence[Lesson]) -> None:
    """Fit the model to what the demonstrations say."""
    trunk, device = make_trunk(model, "fp32"), torch.device("cpu")

    def loss(part: list[int]) -> Tensor:
        logprobs, targets = target_logprobs(trunk, [lessons[i] for i in part], device)
        return -logprobs[targets].mean()

    fit(list(model.parameters()), len(lessons), loss, epochs=LESSON_EPOCHS, rows=LESSON_ROWS, lr=LESSON_LR)


def judge_of(policy: LanguagePolicy, world: Any, prompts: Sequence[str]) -> LlamaForSequenceClassification:
    """Return a reward model that stands on the policy, fitted to gold on the policy's own answers."""
    texts = [prompt for prompt in prompts for _ in range(SAMPLES)]
    context = policy.tokens(texts, room=RESPONSE)
    seeds = [derive_seed(0, "learning", "judge", row) for row in range(len(texts))]
    sampled = sample(policy, context, seeds, max_new_tokens=RESPONSE, batch_rows=128)
    answers = [
        policy.renderer.completion_text(a[m].tolist()) for a, m in zip(sampled.actions, sampled.mask, strict=True)
    ]
    gold = torch.tensor([world.utility(prompt, answer) for prompt, answer in zip(texts, answers, strict=True)])
    wanted = (gold - gold.mean()) / gold.std()
    model: Any = policy.bare
    shape = {k: v for k, v in model.config.to_dict().items() if k not in ("id2label", "label2id")}
    config = type(model.config)(**shape, num_labels=1)
    judge = LlamaForSequenceClassification(config)
    judge.model.load_state_dict(model.model.state_dict())
    torch.nn.init.zeros_(judge.score.weight)

    def loss(part: list[int]) -> Tensor:
        rows = torch.tensor(part)
        return (scores(judge, context[rows], part_of(sampled, rows)) - wanted[rows]).square().mean()

    fit(list(judge.parameters()), len(texts), loss, epochs=JUDGE_EPOCHS, rows=JUDGE_ROWS, lr=JUDGE_LR)
    with torch.no_grad():
        spread = scores(judge, context, sampled).std()
        judge.score.weight /= spread
    return judge.eval()


def part_of(sampled: Sampled, rows: Tensor) -> Sampled:
    """Return some rows."""
    return Sampled(sampled.actions[rows], sampled.mask[rows], sampled.truncated[rows], sampled.logprobs[rows])


def scores(judge: Any, context: PromptTokens, sampled: Sampled) -> Tensor:
    """Return the reward model's scores [B] of the tokens as they were sampled, read at the last of them, as TRL reads them."""
    counts = sampled.mask.sum(1)
    lengths = context.lengths + counts
    rows = [
        torch.cat([context.tokens[i, : context.lengths[i]], sampled.actions[i, : counts[i]]])
        for i in range(len(counts))
    ]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=judge.config.pad_token_id)
    # right padding: what is causal does not see it
    hidden = judge.model(input_ids=tokens, use_cache=False).last_hidden_state
    found: Tensor = judge.score(hidden[torch.arange(len(rows)), lengths - 1])[:, 0]
    return found


if __name__ == "__main__":
    main()
