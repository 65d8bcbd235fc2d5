"""The recipes in the package: found by name, copied out."""

from __future__ import annotations

from pathlib import Path

from heedful.errors import ConfigError
from heedful.records.files import whole_file
from heedful.records.recipes import nearest, read_toml

FOLDER = Path(__file__).parent.parent / "recipes"


def names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(recipe: str) -> Path:
    """Return the path of a recipe given by path or by the name of a shipped one.

    Raises:
        ConfigError: neither; names the nearest.
    """
    path = Path(recipe)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    return shipped(recipe)


def shipped(name: str) -> Path:
    """Return the path of a shipped recipe; ConfigError names the nearest."""
    if name not in names():
        raise ConfigError(f"no recipe is called '{name}', and there is no such file{nearest(name, names())}")
    return FOLDER / f"{name}.toml"


def copy_out(name: str, folder: Path) -> Path:
    """Copy a shipped recipe into a folder and return its path there.

    Raises:
        ConfigError: there is no such recipe, or a file of that name is there already.
    """
    source = shipped(name)
    target = folder / source.name
    if target.exists():
        raise ConfigError(f"{target}: is there already; remove it, or give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as stream:
        stream.write(source.read_bytes())
    return target


def titles() -> list[tuple[str, str]]:
    """Return (name, title) of each shipped recipe."""
    return [(name, str(read_toml(FOLDER / f"{name}.toml").get("title", ""))) for name in names()]
