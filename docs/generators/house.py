"""The packages of mailctl and their imports, read from the code.

`python -m docs.generators.house` prints the counts.
"""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp

from docs.generators.markdown import escape, table
from docs.generators.svg import Box, Drawing

ROOT = Path(__file__).parents[2]
PACKAGE = "mailctl"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
#: A module in the table of changes, and what to look for in it.
_NAMED = re.compile(r"`(?P<path>[a-z_/.]+)`(?: \(`(?P<name>\w+)`\))?")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ROW = 64
_GAP = 12


@dataclass(frozen=True, kw_only=True)
class House:
    """The parts that stand at the top of the package, packages and single modules, and their imports."""

    #: What each part imports of the others.
    imports: dict[str, frozenset[str]]
    #: The number of modules in each.
    sizes: dict[str, int]
    #: Parts that are folders.
    packages: frozenset[str]
    #: Parts that import each other, directly or not; none in a sound house.
    cycles: frozenset[frozenset[str]]

    @property
    def levels(self) -> list[list[str]]:
        """The parts by how deep they lie: each above all that it imports."""
        depths: dict[str, int] = {}

        def depth(part: str) -> int:
            if part not in depths:
                depths[part] = 1 + max((depth(each) for each in self.imports[part]), default=-1)
            return depths[part]

        for part in self.imports:
            depth(part)
        count = max(depths.values()) + 1
        return [sorted(part for part in depths if depths[part] == level) for level in reversed(range(count))]

    @property
    def direct_imports(self) -> dict[str, frozenset[str]]:
        """The imports that follow from no chain of others: enough for a picture."""
        return {
            part: frozenset(
                each
                for each in found
                if not any(each in self._below(other) for other in found if other != each)
            )
            for part, found in self.imports.items()
        }

    def _below(self, part: str) -> frozenset[str]:
        found: set[str] = set()
        waiting = [part]
        while waiting:
            for each in self.imports[waiting.pop()] - found:
                found.add(each)
                waiting.append(each)
        return frozenset(found)


@cache
def read_house() -> House:
    """Read the imports of the package, but those for type checking only."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    parts = sorted(graph.find_children(PACKAGE) - {f"{PACKAGE}.__main__"})
    inside = {part: {part, *graph.find_descendants(part)} for part in parts}
    owner = {module: part for part, modules in inside.items() for module in modules}
    imports = {
        part: frozenset(
            owner[found].removeprefix(f"{PACKAGE}.")
            for module in modules
            for found in graph.find_modules_directly_imported_by(module)
            if found in owner and owner[found] != part
        )
        for part, modules in inside.items()
    }
    named = {part.removeprefix(f"{PACKAGE}."): found for part, found in imports.items()}
    sizes = {part.removeprefix(f"{PACKAGE}."): len(modules) for part, modules in inside.items()}
    packages = frozenset(part for part in sizes if (ROOT / PACKAGE / part / "__init__.py").exists())
    return House(imports=named, sizes=sizes, packages=packages, cycles=find_cycles(named))


def find_cycles(imports: dict[str, frozenset[str]]) -> frozenset[frozenset[str]]:
    """Return the sets of parts of which each leads to each other."""
    house = House(imports=imports, sizes={}, packages=frozenset(), cycles=frozenset())
    below = {part: house._below(part) for part in imports}
    in_ring = (part for part in imports if part in below[part])
    return frozenset(frozenset(each for each in below[part] if part in below[each]) for part in in_ring)


def declared_layers() -> int:
    """Return the number of layers that import-linter holds the package to."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(each for each in tools["contracts"] if each.get("containers") == [PACKAGE])
    return len(contract["layers"])


def house_picture() -> str:
    """Return the picture: each part above those that it imports."""
    house = read_house()
    boxes = _boxes(house.levels)
    width = max(box.x + box.width for box in boxes.values()) + _GAP
    drawing = Drawing(width, _ROW * len(house.levels), "The packages of mailctl and their imports")
    for part, found in house.direct_imports.items():
        for each in sorted(found):
            drawing.arrow(_path(boxes[part], boxes[each]), note=f"{part} imports {each}", opacity=0.35)
    for part, box in boxes.items():
        drawing.box(box, note=_note(part), is_dashed=part not in house.packages)
    return drawing.html()


def _boxes(levels: list[list[str]]) -> dict[str, Box]:
    """Return a box for each part, each level a row, centred."""
    rows = [[(part, 26 + 7.4 * len(part)) for part in parts] for parts in levels]
    lengths = [sum(width for _, width in row) + _GAP * (len(row) - 1) for row in rows]
    boxes: dict[str, Box] = {}
    for n, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        x = _GAP + (max(lengths) - length) / 2
        for part, width in row:
            boxes[part] = Box(part, x, 8 + n * _ROW, width)
            x += width + _GAP
    return boxes


def _path(upper: Box, lower: Box) -> str:
    start, end = upper.y + upper.height, lower.y
    return (
        f"M{upper.middle:g} {start:g}"
        f"C{upper.middle:g} {start + 30:g} {lower.middle:g} {end - 30:g} {lower.middle:g} {end:g}"
    )


def house_table() -> str:
    """Return what each part is for, in its own words, and what it imports."""
    house = read_house()
    parts = [part for level in house.levels for part in level]
    rows = (
        [f"`{part}`", str(house.sizes[part]), escape(_note(part)), ", ".join(sorted(house.imports[part]))]
        for part in parts
    )
    return table(["part", "modules", "what it is", "imports"], rows)


def _note(part: str) -> str:
    """Return the first paragraph of the docstring of a part."""
    folder = ROOT / PACKAGE / part
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def modules_by_change() -> dict[str, tuple[tuple[Path, str], ...]]:
    """Return the files to open for each change of docs/architecture.md, and a name in each, or ""."""
    section = ARCHITECTURE.read_text().partition("\n## Where to change what\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return {
        change: tuple((_file_of(found["path"]), found["name"] or "") for found in _NAMED.finditer(places))
        for change, places in rows
    }


def _file_of(path: str) -> Path:
    """Return the file or the folder of a module, or of a file that is none."""
    place = ROOT / PACKAGE / path
    init = place / "__init__.py"
    if not place.exists():
        return place.with_suffix(".py")
    return init if init.exists() else place


def counts() -> dict[str, int]:
    """Return the figures that the tests keep small."""
    house, lengths = read_house(), function_lengths()
    return {
        "files at the top": len(list((ROOT / PACKAGE).glob("*.py"))),
        "packages": len(house.packages),
        "levels of imports": len(house.levels),
        "layers that import-linter checks": declared_layers(),
        "cycles": len(house.cycles),
        "modules": sum(house.sizes.values()),
        "lines of a function, median": int(statistics.median(lengths)),
        "lines of a function, 90th percentile": lengths[len(lengths) * 9 // 10],
    }


def function_lengths() -> list[int]:
    """Return the lines of each function, its docstring included, the shortest first."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / PACKAGE).rglob("*.py"))
    functions = (node for tree in trees for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))
    return sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)


if __name__ == "__main__":
    for name, number in counts().items():
        print(f"{number:4}  {name}")
    for change, places in modules_by_change().items():
        print(f"{len(places):4}  modules to open to change {change}")
