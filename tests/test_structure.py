"""The structure of the package, held by laws: who may know a library, how long a way is, how many parameters."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import xp_istft as xi
from xp_istft import backends
from xp_istft.backends.base import Backend

PACKAGE = Path(xi.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARIES = ("torch", "cupy", "jax", "dask", "mlx")
MOST_PARAMETERS = 8

# Modules about a library by their nature: adapters, what peers are patched, torch's modules, and what the command line
# says of libraries.
OF_A_LIBRARY = re.compile(r"^(backends/|compat/|patch/|nn\.py|onnx\.py|cli/)")


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def docstrings(tree: ast.Module) -> set[int]:
    """The nodes that are docstrings."""
    holders = (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    first = (node.body[0] for node in holders if node.body)
    return {id(node.value) for node in first if isinstance(node, ast.Expr)}


def names_of_libraries(tree: ast.Module) -> Iterator[str]:
    """Identifiers, imports and strings that are the name of a library, or begin with it and a dot."""
    prose = docstrings(tree)
    for node in ast.walk(tree):
        said: list[str] = []
        if isinstance(node, ast.Name):
            said = [node.id]
        elif isinstance(node, ast.Attribute):
            said = [node.attr]
        elif isinstance(node, ast.Import):
            said = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            said = [node.module or ""]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            said = [node.value] if re.fullmatch(r"[\w.]+", node.value) else []
        yield from (f"line {node.lineno}: {each}" for each in said if each.partition(".")[0] in LIBRARIES)


@pytest.mark.parametrize("path", [p for p in FILES if not OF_A_LIBRARY.match(place(p))], ids=place)
def test_no_library_is_named_outside_of_its_adapter(path):
    assert list(names_of_libraries(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("path", [p for p in FILES if not place(p).startswith("backends/")], ids=place)
def test_nobody_asks_what_a_backend_can(path):
    """Every backend has every map: the definition's, where it has no better one."""
    assert not re.search(r"\b(has|get)attr\(\s*(self\.)?_?backend\b", path.read_text())


def functions(node: ast.AST, holder: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Qualified names and nodes of the functions below a node."""
    for child in ast.iter_child_nodes(node):
        name = f"{holder}.{child.name}".strip(".") if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else holder
        if isinstance(child, ast.FunctionDef):
            yield name, child
        yield from functions(child, name)


def is_public(path: Path, name: str) -> bool:
    """A function with a peer's own parameters, or one that users call with keywords: of xp_istft, a plot, a command."""
    first = name.partition(".")[0]
    if place(path).startswith(("compat/", "patch/", "cli/", "nn.py", "plot.py")):
        return not first.startswith("_")
    return first in xi.__all__


@pytest.mark.parametrize("path", FILES, ids=place)
def test_functions_have_few_parameters(path):
    for name, node in functions(ast.parse(path.read_text())):
        count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        count -= bool(node.args.args) and node.args.args[0].arg in ("self", "cls")
        assert count <= MOST_PARAMETERS or is_public(path, name), f"{name}: {count} parameters"


def test_a_warm_istft_enters_at_most_four_files_before_its_map():
    X = xi.stft(np.random.default_rng(0).standard_normal(4000), 512)
    xi.istft(X)
    entered: list[str] = []

    def watch(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            entered.append(f"{place(Path(frame.f_code.co_filename))}: {frame.f_code.co_name}")

    sys.setprofile(watch)
    try:
        xi.istft(X)
    finally:
        sys.setprofile(None)
    before = entered[: entered.index("backends/cpu/numpy.py: synthesis")]
    files = {each.partition(":")[0] for each in before} - {"backends/cpu/numpy.py"}
    assert len(files) <= 4, before


def test_the_package_shows_its_public_names_alone():
    assert [name for name in dir(xi) if not name.startswith("__")] == sorted(xi.__all__)
    assert all(hasattr(xi, name) for name in xi.__all__)


MODULES = sorted({(name.partition(".")[0], module) for (name, _), module in backends._BACKENDS.items() if module})


@pytest.mark.parametrize(("library", "module"), MODULES)
def test_backends_override_what_backend_has_and_keep_its_parameters(library, module):
    pytest.importorskip(library)
    backend = import_module(f"xp_istft.backends.{module}").BACKEND
    assert isinstance(backend, Backend)
    for cls in type(backend).__mro__[: -len(Backend.__mro__)]:
        for name, value in vars(cls).items():
            if name.startswith("_"):
                continue
            assert name in vars(Backend), f"{cls.__name__}.{name}"
            if callable(value):
                ours, theirs = (inspect.signature(each).parameters.values() for each in (value, getattr(Backend, name)))
                shown = [[(each.name, each.kind, each.default) for each in parameters] for parameters in (ours, theirs)]
                assert shown[0] == shown[1], f"{cls.__name__}.{name}"


def test_every_map_has_a_default():
    assert not [name for name, value in vars(Backend).items() if getattr(value, "__isabstractmethod__", False)]
    assert type(backends.required_backend(np.zeros(3))) is not Backend
    assert type(backends.base.BASE) is Backend
