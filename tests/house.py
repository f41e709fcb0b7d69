"""The house rules that a machine can check: who may import whom, and which module is whose door."""

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "chatloom_async"

# Reading order is import order: a module imports only from stairs above its own. A package whose
# modules stand on stairs of their own stands itself for its face, the __init__.
STAIRS = (
    "version models",
    "errors events",
    "auth fanout",
    "cache ratelimit.values ratelimit.waiting",
    "ratelimit.departures",
    "ratelimit.bucket ratelimit.window",
    "ratelimit.told ratelimit.closings",
    "ratelimit.schedule ratelimit.shared",
    "ratelimit.common",
    "ratelimit.limiter ratelimit.shared_file",
    "ratelimit.registry",
    "transport",
    "calls network",
    "client",
    "audit.text",
    "audit.keys audit.suffixes audit.addresses audit.hosts audit.look_alikes audit.results",
    "audit.domains audit.draft",
    "audit.findings",
    "audit.judge",
    "audit.files",
    "audit.log",
    "audit.page audit.run audit.diff",
    "audit",
    "testing contrib",
    "cli",
    "__main__",
)

STAIR = {name: number for number, stair in enumerate(STAIRS) for name in stair.split()}

# A dependency comes in through one door, so that replacing it is one module's affair.
DOORS: Mapping[str, frozenset[str]] = {
    "aiohttp": frozenset({"network", "testing"}),
    "can_ada": frozenset({"audit.hosts"}),
    "idna": frozenset({"audit.hosts"}),
    "publicsuffixlist": frozenset({"audit.suffixes"}),
    "jinja2": frozenset({"audit.page"}),
    "distributed": frozenset({"contrib"}),
    "pyarrow": frozenset({"contrib"}),
    "opentelemetry": frozenset({"contrib"}),
    "redis": frozenset({"contrib"}),
    "yarl": frozenset({"network"}),
    "tenacity": frozenset({"calls"}),
    "cattrs": frozenset({"calls"}),
    "pydantic_core": frozenset({"models"}),
    "cachetools": frozenset({"cache"}),
    "rich": frozenset({"cli"}),
    "shtab": frozenset({"cli"}),
    "pytest": frozenset({"testing"}),
}


def violations(sources: Mapping[str, str]) -> list[str]:
    """Return what breaks the rules in these modules (dotted name below the package → source)."""
    found: list[str] = []
    for module, source in sources.items():
        for imported in _imports(ast.parse(source)):
            found += _climbs(module, imported) + _forces(module, imported)
    return found


def circles(sources: Mapping[str, str]) -> list[str]:
    """Return modules that import each other, in a circle of any length."""
    imports = {
        module: {name.removeprefix(f"{PACKAGE}.") for name in _imports(ast.parse(source))}
        & sources.keys()
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return sorted(set(error.args[1]))
    return []


def lost_pointers(sources: Mapping[str, str]) -> list[str]:
    """Return the modules that a docstring points to, "(``name``)", and that are not there."""
    known = {module.removesuffix(".__init__") for module in sources}
    known |= {module.rpartition(".")[0] for module in known}
    lost: list[str] = []
    for module, source in sources.items():
        folder = module.rpartition(".")[0]
        docstring = ast.get_docstring(ast.parse(source)) or ""
        lost += [
            f"{module} points to {name}"
            for name in re.findall(r"\(``([a-z_.]+)``[),]", docstring)
            if not {name, f"{folder}.{name}"} & known
        ]
    return lost


def package_sources(root: Path) -> dict[str, str]:
    """Read every module of the package, the package's own face excepted."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path.read_text("utf-8")
        for path in sorted(root.rglob("*.py"))
        if path != root / "__init__.py"
    }


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield dotted names, also those imported inside functions and for type checkers only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"{PACKAGE}.<relative>"
            elif node.module == PACKAGE:
                yield from (f"{PACKAGE}.{name.name}" for name in node.names)
            else:
                yield node.module or ""


def place(module: str) -> str:
    """Return the name under which a module, or what is imported from it, stands on the stairs."""
    names = module.removesuffix(".__init__").split(".")
    known = (".".join(names[:length]) for length in range(len(names), 0, -1))
    return next((name for name in known if name in STAIR), names[0])


def _climbs(module: str, imported: str) -> list[str]:
    package, _, below = imported.partition(".")
    if package != PACKAGE:
        return []
    own, target = place(module), place(below)
    if own == target:
        return []
    if not {own, target} <= STAIR.keys():
        return [f"{module} or {imported} stands on no stair"]
    return [] if STAIR[target] < STAIR[own] else [f"{module} climbs to {imported}"]


def _forces(module: str, imported: str) -> list[str]:
    doors = DOORS.get(imported.partition(".")[0])
    if doors is None or place(module) in doors:
        return []
    return [f"{module} imports {imported}, whose door is {', '.join(sorted(doors))}"]
