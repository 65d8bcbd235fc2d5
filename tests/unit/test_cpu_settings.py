"""What torch reads of the environment is set before torch is there, and the user's own word counts."""

import os
import subprocess
import sys

from heedful.cpu_settings import SETTINGS


def test_settings_are_made_without_torch_and_leave_the_user_his() -> None:
    own = next(iter(SETTINGS))
    code = f"import os, sys, heedful; print('torch' in sys.modules, *(os.environ[name] for name in {list(SETTINGS)}))"
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS} | {own: "7"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "7", *list(SETTINGS.values())[1:]]
