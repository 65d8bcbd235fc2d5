"""One idea, one name: what the glossary (docs/glossary.md) forbids is no identifier of numerics, engines or stages.

Exact names only: `log_probs` is forbidden, `chunk_log_probs` would not be noticed. A keyword argument of somebody else's function
is not ours to name: transformers calls its inputs `input_ids` and `attention_mask`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "heedful"
ROOMS = ("numerics", "engines", "stages")
INSTEAD = {
    "query": "prompt",
    "response": "completion",
    "responses": "completion",
    "instruction": "prompt",
    "ids": "tokens",
    "input_ids": "tokens",
    "padding_mask": "mask",
    "attention_mask": "mask",
    "act": "actions",
    "logps": "logprobs",
    "logp": "logprobs",
    "log_prob": "logprobs",
    "log_probs": "logprobs",
    "neglogp": "logprobs",
    "behaviour": "old_logprobs",
    "pi_old": "old_logprobs",
    "sft_logprobs": "ref_logprobs",
    "kl_coeff": "kl_coef",
    "beta": "kl_coef",
    "vpred": "values",
    "adv": "advantages",
    "lam": "gae_lambda",
    "lmbda": "gae_lambda",
    "lambd": "gae_lambda",
    "cliprange": "clip_range",
    "epsilon": "clip_range",
    "clipfrac": "clip_fraction",
    "noptepochs": "num_epochs",
    "n_epochs": "num_epochs",
    "annotator": "labeler",
    "annotators": "labeler",
    "rater": "labeler",
    "raters": "labeler",
    "actor": "policy",
    "critic": "value_head",
}
"""Never, and what to say instead. Left out because they are also words of other things: base (a model, a folder), targets (layers),
eps (an optimizer's setting),
reward, return, update, step, worker, agent, order, context, winner, loser, theta, skill, score."""


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that this code gives to something: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, 0


def forbidden(source: str) -> list[str]:
    found = [(name, line) for name, line in identifiers(ast.parse(source)) if name in INSTEAD]
    return [f"{line}: {name}, say {INSTEAD[name]}" for name, line in found]


@pytest.mark.parametrize("room", ROOMS)
def test_no_forbidden_name(room: str) -> None:
    files = sorted((SRC / room).glob("**/*.py"))
    assert files, f"no files in {room}"
    wrong = [
        f"{path.relative_to(SRC)}:{each}" for path in files for each in forbidden(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_a_forbidden_name_is_found_wherever_it_is_given() -> None:
    source = "def f(lam, *, beta=1):\n    logp = lam\n    self.adv = logp\n    return [cliprange for cliprange in ()]\n"
    assert {each.split(": ")[1].split(",")[0] for each in forbidden(source)} == {
        "lam",
        "beta",
        "logp",
        "adv",
        "cliprange",
    }


def test_the_arguments_of_other_peoples_functions_are_theirs_to_name() -> None:
    assert forbidden("model(input_ids=tokens, attention_mask=mask)") == []
    assert forbidden("out.attention_mask.sum()") == []


def test_the_glossary_says_the_same() -> None:
    glossary = (SRC.parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", glossary))
    assert {name.removesuffix("s") for name in INSTEAD} - {word.removesuffix("s") for word in words} == set()
    assert set(INSTEAD.values()) <= words
