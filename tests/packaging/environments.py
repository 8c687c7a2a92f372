"""New environments, into which the built package is installed as a service would install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def uv(*arguments: str, stdin: str | None = None) -> str:
    """Run uv, and return what it prints; a failure shows all that it said."""
    program = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert program is not None, "uv is not installed"
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Package:
    """The package as a wheel, built from the files here, and the environments that it was installed into.

    Args:
        folder: where all of them go.
    """

    def __init__(self, folder: Path) -> None:
        uv("build", "--quiet", "--wheel", "--out-dir", str(folder))
        [self._wheel] = folder.glob("*.whl")
        self._folder = folder
        self._environments: dict[tuple[object, ...], str] = {}

    def requirement(self, *extras: str) -> str:
        """Return what to ask an installer for."""
        return f"mailctl[{','.join(extras)}] @ {self._wheel.as_uri()}"

    @staticmethod
    def environment(folder: Path, *, has_pip: bool = False) -> str:
        """Make an environment with nothing, or nothing but pip, and return its Python."""
        uv("venv", "--quiet", *(["--seed"] if has_pip else []), "--python", sys.executable, str(folder))
        return str(folder / "bin" / "python")

    def install(self, *extras: str, also: tuple[str, ...] = ()) -> str:
        """Make an environment with the package and nothing else, and return its Python.

        Tests that ask for the same share one, whose modules are compiled once; they change nothing in it.

        Args:
            extras: of the package.
            also: what a service would install itself.
        """
        asked = (*extras, also)
        if asked not in self._environments:
            python = self.environment(self._folder / f"environment-{len(self._environments)}")
            uv("pip", "install", "--quiet", "--python", python, self.requirement(*extras), *also)
            for other in self._environments.values():
                _share_compiled_modules(_packages(other), _packages(python))
            self._environments[asked] = python
        return self._environments[asked]

    def resolve(self, *others: str, extras: tuple[str, ...] = ()) -> dict[str, str]:
        """Return the version of each package that would be installed beside other requirements."""
        asked = "\n".join([self.requirement(*extras), *others])
        arguments = ("--quiet", "--no-header", "--no-annotate", "--python", sys.executable)
        printed = uv("pip", "compile", *arguments, "-", stdin=asked)
        pinned = (line.partition("==") for line in printed.splitlines() if "==" in line)
        return {name: version.split()[0] for name, _, version in pinned}


def _packages(python: str) -> Path:
    """Return the folder with the packages of an environment."""
    [folder] = Path(python).parent.parent.glob("lib/python*/site-packages")
    return folder


def _share_compiled_modules(compiled: Path, others: Path) -> None:
    """Link what one environment has compiled into another; what is of another source is compiled again."""
    for file in compiled.rglob("__pycache__/*.pyc"):
        copy = others / file.relative_to(compiled)
        if copy.parent.parent.is_dir() and not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            copy.hardlink_to(file)
