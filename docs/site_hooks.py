"""What the site holds beside docs/*.md: the repository's pages and files, and a page of reference for each sub-package.

In the repository links are relative to where a page lies, so that they work there too; here they are turned to where it
lies in the site, which has docs/ and the repository's root as one folder.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "aed_nerfstudio"
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
"""At the repository's root, and what they are in the site."""
FILES = ("LICENSE", "CITATION.cff", "installation/*.txt", "benchmarks/results/*", "examples/*.py")
"""Patterns of what pages link to."""
SCRIPT = re.compile(r"^## \[.*\]\(\.\./(examples/\w+\.py)\)$", re.MULTILINE)
"""A heading of the page of examples."""
IMPORTS = (ast.Import, ast.ImportFrom, ast.Expr)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the reference to the navigation."""
    config.nav.append({"Reference": [{title: f"reference/{title}.md"} for title in reference()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the repository's pages and files, and the reference."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    for path in sorted(path for pattern in FILES for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for title, modules in reference().items():
        text = "\n\n".join([f"# {title}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, f"reference/{title}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns a page's links to where things are in the site, and shows the scripts on the page of examples."""
    if page.file.src_uri == "examples.md":
        markdown = SCRIPT.sub(lambda found: f"{found[0]}\n\n```python\n{(ROOT / found[1]).read_text()}```", markdown)
    if page.file.src_uri in PAGES.values():
        return re.sub(r"\]\(docs/", "](", markdown)
    return re.sub(r"\]\(\.\./(README\.md)?", lambda link: "](index.md" if link[1] else "](", markdown)


def reference() -> dict[str, list[str]]:
    """Returns the modules of every sub-package by its name; `aed_nerfstudio` are those that lie in none."""
    pages = {"aed_nerfstudio": sorted(PACKAGE.glob("*.py"))}
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        pages[folder.name] = sorted(folder.rglob("*.py"))
    named = {title: [dotted(path) for path in paths if has_contents(path)] for title, paths in pages.items()}
    return {title: modules for title, modules in named.items() if modules}


def has_contents(path: Path) -> bool:
    """Returns whether a module holds more than imports and their `__all__`, as those do that old runs name."""
    body = [node for node in ast.parse(path.read_text()).body if not isinstance(node, IMPORTS)]
    return any(not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "__all__" for node in body)


def dotted(path: Path) -> str:
    """Returns a module's name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
