"""No class or function is longer than what can be read at once."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST = {ast.ClassDef: 300, ast.FunctionDef: 60, ast.AsyncFunctionDef: 60}
"""Lines."""
KERNELS = {"shade"}


def test_classes_and_functions_are_short():
    long = []
    for folder in ("aed_nerfstudio", "dataparsers", "method_configs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if type(node) in MOST and node.end_lineno - node.lineno >= MOST[type(node)]:
                    long.append((path.name, node.name))
    assert {name for _, name in long} == KERNELS, long
