"""Programs that tests run but pip does not install with the agent. On a machine without one, what needs it is skipped
and says so; where ``CI=true`` is set, that is a failure."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

_TOOLS = Path(__file__).resolve().parents[1] / ".venv" / "tools" / "bin"
_NPM = _TOOLS.parent / "npm" / "node_modules" / ".bin"
_PACKAGES = dict.fromkeys(("prometheus", "promtool"), "apt-get install prometheus")
_PACKAGES.update(chromium="apt-get install chromium", chromedriver="apt-get install chromium-driver")
_PACKAGES["libfaketime"] = "apt-get install libfaketime"


def find(name: str) -> str | None:
    """The path of a command that `make tools` installs, or of this machine; None without it."""
    folders = [str(_TOOLS), str(_NPM), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which(name, path=os.pathsep.join(folders))


def find_faketime() -> str | None:
    """The library that sets the wall clock of one process, where Debian's package puts it; None without it."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else None


def require(name: str) -> str:
    """The path of a command, or of libfaketime, that the test cannot do without."""
    found = find_faketime() if name == "libfaketime" else find(name)
    if found is None:
        missing = f"{name} is not installed: {_PACKAGES.get(name, 'make tools')}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found
