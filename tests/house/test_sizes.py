"""The house stays readable: small functions, small files."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
MEDIAN_BODY = 13
LONGEST_BODY = 60
LONGEST_FILE = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """Lines of a function's body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    assert function.end_lineno is not None
    return function.end_lineno - body[0].lineno + 1


def functions() -> Iterator[tuple[str, int]]:
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(SRC)}:{node.lineno} {node.name}", body_lines(node)


def test_body_lines_leave_the_docstring_out() -> None:
    source = 'def f(x):\n    """One.\n\n    Two.\n    """\n    y = x\n    return y\n'
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert body_lines(function) == 2


def test_half_of_all_functions_are_short() -> None:
    assert statistics.median(lines for _, lines in functions()) <= MEDIAN_BODY


def test_no_function_is_long() -> None:
    assert [f"{place}: {lines} lines" for place, lines in functions() if lines > LONGEST_BODY] == []


def test_no_file_is_long() -> None:
    counts = {path: path.read_text(encoding="utf-8").count("\n") for path in SRC.rglob("*.py")}
    assert counts, "no source found"
    assert [f"{path.relative_to(SRC)}: {count} lines" for path, count in counts.items() if count > LONGEST_FILE] == []
