"""heed constitution check: what it prints, and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from heedful.apps import cli
from heedful.testing.policies import byte_causal, byte_tokenizer
from heedful.testing.tiny import save_model


def heed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["heed", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_shipped_one_is_found_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = heed(monkeypatch, capsys, "constitution", "check", "default")
    assert code == 0
    (line,) = out.splitlines()
    assert line.startswith("default ")
    assert line.endswith("16 principles to revise by, 16 to compare by; 0 wrong, 0 to look at")


def test_what_is_wrong_is_listed_and_gives_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[[principles]]\nname = "a"\ncomparison = "Same?"\n[[principles]]\nname = "b"\ncomparison = "same?"\n'
        '[[principles]]\nname = "c"\ncomparison = ""\n'
    )
    code, out, _ = heed(monkeypatch, capsys, "constitution", "check", str(path))
    assert code == 2
    assert out.splitlines()[:3] == [
        "wrong: principle 'c'.comparison: is empty; write it, or leave the key out",
        "wrong: principle 'c': has neither a critique and revision request nor a comparison question",
        "look: principles 'a' and 'b': have the same comparison text, so it is drawn 2 times as often",
    ]
    assert out.splitlines()[3].endswith("0 principles to revise by, 2 to compare by; 2 wrong, 1 to look at")


def test_with_a_model_it_says_what_leaves_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "model", byte_causal(), byte_tokenizer())
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[[principles]]\nname = "a"\ncomparison = "Which?"\n')
    code, out, _ = heed(monkeypatch, capsys, "constitution", "check", str(path), "--model", str(model), "--room", "3")
    assert code == 2
    # an empty question is 136 bytes, and so tokens; two answers of three and one token more
    assert "wrong: principle 'a'.comparison: with examples, a sample prompt and its answers it takes" in out
    assert "tokens, the model's context is 128" in out


def test_a_missing_file_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = heed(monkeypatch, capsys, "constitution", "check", "absent.toml")
    assert (code, err) == (2, "heed: absent.toml: no such constitution; shipped are: default, household\n")
