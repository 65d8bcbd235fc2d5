"""Bad input as a user gives it: each kind ends the real command in one line with its place, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from heedful.apps import cli
from heedful.testing.tiny import save_model, tiny_causal, tiny_encoder, tiny_tokenizer

CONTEXT = 64
Files = dict[str, str | bytes]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folders: a sound one, and each kind of broken one."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = tiny_tokenizer()
    model: Any = tiny_causal(tokenizer, max_positions=CONTEXT)
    sound = save_model(root / "sound", model, tokenizer)
    encoder = save_model(root / "encoder", tiny_encoder(tokenizer), tokenizer)
    for name in ("no_tokenizer", "pickle_only", "other_weights", "cut_off"):
        shutil.copytree(sound, root / name)
    for file in (root / "no_tokenizer").glob("tokenizer*"):
        file.unlink()
    (root / "pickle_only" / "model.safetensors").unlink()
    torch.save(model.state_dict(), root / "pickle_only" / "pytorch_model.bin")
    shutil.copy(encoder / "model.safetensors", root / "other_weights")
    weights = root / "cut_off" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    return root


class Case(NamedTuple):
    """What a user wrote, and what the command answers.

    Args:
        recipe: its text below `name`.
        says: a pattern that the one line matches from its beginning.
        finished: the stages that were done before.
        files: what lies beside the recipe.
    """

    recipe: str
    says: str
    finished: tuple[str, ...] = ()
    files: Files = {}  # never changed


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def of_data(settings: str, says: str, name: str = "d.jsonl", content: str | bytes = "") -> Case:
    """A recipe of the one stage `data`, with one source."""
    recipe = f'stages = ["data"]\n[[data.sources]]\npath = "{name}"\n{settings}\n'
    return Case(recipe, says, files={name: content})


def of_model(model: str, says: str) -> Case:
    return Case(f'stages = ["sft"]\n[sft]\nmodel = "models/{model}"\nepochs = 0\n', says)


QUESTIONS = lines({"id": "q1", "prompt": "why ?"}, {"id": "q2", "prompt": "so hot ?"})
SAMPLED = """stages = ["data", "sft", "sample"{more}]
[data]
sources = [{{ path = "q.jsonl" }}]
[sft]
model = "models/sound"
epochs = 0
[sample]
inputs = {{ policy = "sft", prompts = "data" }}
num_completions = {count}
max_new_tokens = {tokens}
"""
BEFORE = ("data", "sft")


def sampled(says: str, *, questions: str = QUESTIONS, tokens: int = 2) -> Case:
    return Case(SAMPLED.format(more="", count=2, tokens=tokens), says, BEFORE, {"q.jsonl": questions})


def ranked(says: str, *answers: object, name: str = "r.jsonl", content: str = "") -> Case:
    """A recipe whose rankings come from a file."""
    stage = f'[collect]\ninputs = {{ completions = "sample" }}\nrankings = "{name}"\ncriterion = "kind"\n'
    recipe = SAMPLED.format(more=', "collect"', count=2, tokens=2) + stage
    return Case(recipe, says, (*BEFORE, "sample"), {"q.jsonl": QUESTIONS, name: content or lines(*answers)})


def answer(*ids: str, **more: object) -> dict[str, object]:
    return {"labeler": "anna", "ranking": [[each] for each in ids], **more}


PANEL = """[collect]
inputs = { completions = "sample" }
world = "household"
panel = [{ name = "anna" }]
criterion = "kind"
"""
ALIGN = """[align]
inputs = { policy = "sft", prompts = "data" }
iterations = 2
reward.function = "scorer.py:score"
rollout = { rows = 1, max_new_tokens = 2 }
"""
EVALUATE = """[evaluate]
inputs = { before = "sft", after = "sft", prompts = "data" }
split = "train"
world = "household"
max_new_tokens = 2
"""
SCORER = "def score(prompts, completions, **columns):\n    return [0.0] * len(completions)\n"
LONG = lines({"id": "q1", "prompt": "why ?"}, {"id": "q2", "prompt": "so hot ? " * CONTEXT})
TOO_LONG = (
    r"artifacts/\w+/train\.prompts\.jsonl:2: id 'q2': the prompt has \d+ tokens and 2 are to follow, but .* is 64; sho"
)


def after_sft(stage: str, text: str) -> Case:
    recipe = (
        SAMPLED.format(more="", count=2, tokens=2).partition("[sample]")[0].replace('"sample"', f'"{stage}"') + text
    )
    return Case(recipe, TOO_LONG, BEFORE, {"q.jsonl": LONG, "scorer.py": SCORER})


def badly_scored(
    body: str, says: str, part: str = 'function = "scorer.py:score"', finished: tuple[str, ...] = BEFORE
) -> Case:
    """A run whose score has one part: this function's, or another."""
    rows = "rollout = { rows = 4, max_new_tokens = 2 }\nreward.timeout = 0.5\n"
    stage = ALIGN.partition("reward.function")[0] + rows + f"[align.reward.parts.own]\n{part}\n"
    recipe = SAMPLED.format(more="", count=2, tokens=2).partition("[sample]")[0].replace('"sample"', '"align"')
    code = f"import time\n\ndef score(prompts, completions, **columns):\n    {body or 'pass'}\n"
    return Case(recipe + stage, says, finished, {"q.jsonl": QUESTIONS, "scorer.py": code})


BY_FUNCTION = r"reward part 'own': scorer scorer\.py:score"
CASES = {
    # recipes
    "unknown_key": Case(
        'stages = ["data"]\n[data]\nwrld = "household"\n', r"r\.toml:4: data\.wrld: no such setting; did you"
    ),
    "wrong_type": Case(
        'stages = ["sft"]\n[sft]\nmodel = "x"\n\nepochs = "two"\n',
        r'r\.toml:6: sft\.epochs: expected a whole number, got "two"',
    ),
    "no_input": Case(
        'stages = ["sample"]\n[sample]\nlimit = 1\n',
        r"r\.toml:3: sample\.inputs: 'policy' is missing; the artifact of 'sft'",
    ),
    "cycle": Case(
        'stages = ["a", "b"]\n[a]\nstage = "sft"\ninputs = { demonstrations = "b" }\n'
        '[b]\nstage = "data"\ninputs = { x = "a" }\n',
        r"r\.toml:5: a\.inputs\.demonstrations: a cycle: a needs b, b needs a; ",
    ),
    "wrong_order": Case(
        'stages = ["sft", "data"]\n[sft]\ninputs.demonstrations = "data"\n[data]\nworld = "household"\n',
        r"r\.toml:4: sft\.inputs\.demonstrations: 'data' comes later in the list of stages; put it before 'sft'$",
    ),
    "not_toml": Case("stages = = 1", r"r\.toml:2: not valid TOML: "),
    "unknown_column_of_ours": of_data(
        'columns = { promt = "x" }', r"r\.toml:3: data\.sources\.0: columns\.promt: .* did you mean 'prompt'\?$"
    ),
    "negative_share": of_data(
        "split = { train = 1.2, tune = -0.2 }",
        r"r\.toml:3: data\.sources\.0: split\.train: a share from 0 to 1 was expected",
    ),
    # data
    "missing_file": Case(
        'stages = ["data"]\n[data]\nsources = [{ path = "a.csv" }]\n', r"a\.csv: no such file; check the path"
    ),
    "missing_column": of_data(
        "",
        r"d\.jsonl:1: field 'prompt': there is no such column; did you mean 'promt'\?",
        content=lines({"promt": "x"}),
    ),
    "missing_column_to_keep": of_data(
        'meta = ["topic"]', r"d\.jsonl: meta: no row has a column 'topic'", content=QUESTIONS
    ),
    "empty_file": of_data("", r"d\.jsonl: the file is empty"),
    "empty_csv": of_data("", r"d\.csv: the file is empty", "d.csv"),
    "not_utf8": of_data(
        "", r"d\.jsonl:2: byte 13 is not valid UTF-8", content=b'{"prompt": "x"}\n{"prompt": "\xff"}\n'
    ),
    "long_line": of_data("", r"d\.jsonl:2: the line is longer than 64 MiB", content=b'{"prompt": "x"}\n{"prompt": "\0'),
    "duplicate_id": of_data(
        "",
        r"d\.jsonl:2: field 'id': 'a' is already the id of .*d\.jsonl:1",
        content=lines({"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}),
    ),
    "null_id": of_data(
        "",
        r"d\.jsonl:1: field 'id': text or a number was expected, got null",
        content=lines({"id": None, "prompt": "x"}),
    ),
    "nan": of_data("", r"d\.jsonl:1: field 'n': NaN is not a number here", content='{"prompt": "x", "n": NaN}\n'),
    "nan_in_csv": of_data(
        'kind = "labeled"\nwanted_below = 0.5',
        r"d\.csv:2: field 'label': a number was expected, got .nan.$",
        "d.csv",
        "completion,label\nx,nan\n",
    ),
    "nan_in_json": of_data(
        "", r"d\.json: row 1: field 'n': nan is not a number here", "d.json", '[{"prompt": "x", "n": NaN}]'
    ),
    "empty_completion": of_data(
        'kind = "demonstrations"',
        r"d\.jsonl:2: field 'completion': the text is empty; ",
        content=lines({"prompt": "x", "completion": "y"}, {"prompt": "x", "completion": " "}),
    ),
    "empty_answer": of_data(
        'kind = "preferences"',
        r"d\.jsonl:1: field 'rejected': the text is empty; ",
        content=lines({"prompt": "x", "chosen": "y", "rejected": ""}),
    ),
    # rankings
    "unknown_completion": ranked(
        r"r\.jsonl:2: field 'ranking': names completion 'q9/0'", answer("q1/0", "q1/1"), answer("q9/0", "q1/1")
    ),
    "completion_twice": ranked(r"r\.jsonl:1: field 'ranking': names completion 'q1/0' twice", answer("q1/0", "q1/0")),
    "single_completion": ranked(r"r\.jsonl:1: field 'ranking': ranks a single completion", answer("q1/0")),
    "unknown_on_display": ranked(
        r"r\.jsonl:1: field 'displayed_order': names completion 'q9/0'",
        answer("q1/0", "q1/1", displayed_order=["q9/0"]),
    ),
    "ranking_of_text": ranked(
        r"r\.jsonl:1: field 'ranking\.0': a list was expected, got .q1/0.$",
        {"labeler": "anna", "ranking": ["q1/0", "q1/1"]},
    ),
    "other_prompt_in_csv": ranked(
        r"r\.csv:2: field 'task_id': 'q2' is a prompt, but the completions are those of prompt 'q1'",
        name="r.csv",
        content="task_id,labeler,completion_id,rank\nq2,anna,q1/0,1\nq2,anna,q1/1,2\n",
    ),
    "cell_too_many": ranked(
        r"r\.csv:3: 5 cells where the header has 4",
        name="r.csv",
        content="task_id,labeler,completion_id,rank\nq1,anna,q1/0,1\nq1,anna,q1/1,2,\n",
    ),
    "one_completion_for_a_panel": Case(
        SAMPLED.format(more=', "collect"', count=1, tokens=2) + PANEL,
        r"field 'completions': prompt 'q1' has 1 completions; a ranking takes 2 to \d+; set sample\.num_completions",
        (*BEFORE, "sample"),
        {"q.jsonl": QUESTIONS},
    ),
    "thumbs_for_a_consensus": Case(
        SAMPLED.format(more=', "collect", "consensus"', count=2, tokens=2)
        + '[collect]\ninputs = { completions = "sample" }\ncriterion = "kind"\n[collect.people]\nmode = "thumbs"\n'
        + '[consensus]\ninputs = { rankings = "collect" }\n',
        r".*consensus\.inputs\.rankings: 'collect', as it is set, does not give 'rankings'; it gives 'labeled'",
    ),
    # prompts beyond the context
    "long_prompt_sample": sampled(TOO_LONG, questions=LONG),
    "long_prompt_align": after_sft("align", ALIGN),
    "long_prompt_evaluate": after_sft("evaluate", EVALUATE),
    "too_many_new_tokens": sampled(r".*:1: id 'q1': .*; lower max_new_tokens or choose a model", tokens=CONTEXT),
    # scorers
    "score_nan": badly_scored(
        "return [0.5, float('nan'), 0.5, 0.5]", BY_FUNCTION + r": score 1 is nan; expected a finite number or None$"
    ),
    "score_text": badly_scored("return ['0.5'] * len(completions)", BY_FUNCTION + r": score 0 is '0\.5'; expected"),
    "scores_too_few": badly_scored("return [0.5]", BY_FUNCTION + r" gave 1 scores for 4 completions; return one"),
    "scores_in_another_order": badly_scored(
        "return [float(i) for i in range(len(completions))]",
        BY_FUNCTION
        + r": row \d scores \d\.0, and \d\.0 when the rows come in another order; return one score per completion",
    ),
    "no_scores_in_time": badly_scored(
        "time.sleep(20)", BY_FUNCTION + r": nothing for 0\.5 s; raise reward\.timeout if it needs longer$"
    ),
    "nobody_scores": badly_scored(
        "",
        r"reward part 'own': service http://127\.0\.0\.1:9/: ConnectError: .* \(tried once\); rows 0 to 3 were asked for$",
        'service = { url = "http://127.0.0.1:9/", retries = 0 }',
    ),
    "metadata_scores": badly_scored(
        "",
        r"reward\.parts\.own\.service: 169\.254\.169\.254: not a public address; where that is meant, name it: ",
        'service = { url = "http://169.254.169.254/" }',
    ),
    "no_kind_of_part": badly_scored(
        "", r"r\.toml:\d+: align\.reward\.parts\.own: exactly one of input, function, .* got none$", "weight = 2.0", ()
    ),
    # model folders
    "no_model": Case(
        'stages = ["sft"]\n[sft]\nmodel = "./absent"\nepochs = 0\n',
        r"\./absent: no such model folder; give a folder with",
    ),
    "no_tokenizer": of_model("no_tokenizer", r"no_tokenizer: no tokenizer, such as tokenizer\.json; save"),
    "pickle_only": of_model("pickle_only", r"pickle_only: only pickled weights \(pytorch_model\.bin\)"),
    "encoder": of_model("encoder", r"encoder: BertModel does not write text; expected a causal"),
    "other_weights": of_model(
        "other_weights", r"other_weights: its weights are not those of a LlamaForCausalLM: lm_head\.weight is"
    ),
    "cut_off": of_model("cut_off", r"cut_off: the weights could not be loaded \(.*; the file is cut off or damaged\)$"),
}


def written(case: Case, folder: Path, models: Path) -> None:
    (folder / "models").symlink_to(models)
    (folder / "r.toml").write_text(f'name = "r"\n{case.recipe}')
    for name, content in case.files.items():
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if isinstance(content, bytes) and content.endswith(b"\0"):
            os.truncate(path, 100 * 10**6)  # the rest is a hole


def finished(store: Path) -> list[str]:
    """The stages whose artifacts are complete; there is nothing else."""
    folders = sorted(path for path in store.glob("*") if path.is_dir())
    return sorted(json.loads((path / "manifest.json").read_text())["stage"] for path in folders)


@pytest.fixture
def heed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Call the command in this process; returns exit code and lines on stderr."""

    def call(*arguments: str) -> tuple[int, list[str]]:
        monkeypatch.setattr("sys.argv", ["heed", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        assert said.out == ""
        return int(stopped.value.code or 0), said.err.splitlines()

    return call


def check(case: Case, code: int, said: list[str]) -> None:
    assert code == 2
    ours = [line for line in said if line.startswith("heed: ")]
    assert ours == said[-1:]
    assert re.match(f"heed: (?:.*/)?{case.says}", ours[0]), ours[0]
    assert not any("Traceback" in line or "LOAD REPORT" in line for line in said)
    assert finished(Path("runs/artifacts")) == sorted(case.finished)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line(
    tmp_path: Path,
    models: Path,
    heed: Callable[..., tuple[int, list[str]]],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    written(CASES[name], tmp_path, models)
    check(CASES[name], *heed("run", "r.toml"))


def test_a_process_of_its_own_says_no_more(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that print what pytest would hold back."""
    monkeypatch.chdir(tmp_path)
    case = CASES["other_weights"]
    written(case, tmp_path, models)
    command = [sys.executable, "-m", "heedful.apps.cli", "run", "r.toml"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert len(ended.stderr.splitlines()) == 3  # where models run, the stage that begins, and what is wrong
    check(case, ended.returncode, ended.stderr.splitlines())
