"""The documentation: builds as a site without a broken link, loads nothing from elsewhere, and names what there is."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "aed_nerfstudio"
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def build(config: Path, site: Path) -> tuple[int, str]:
    """Exit code and all that mkdocs prints."""
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", site],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=config.parent,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    return run.returncode, run.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    code, printed = build(ROOT / "mkdocs.yml", folder)
    assert code == 0, printed[-4000:]
    return folder


class Addresses(HTMLParser):
    """What a page refers to: `loaded`, what a browser asks for by itself when it shows the page, and `linked`."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("src"):
            self.loaded.append(named["src"])
        if named.get("href"):
            (self.linked if tag == "a" else self.loaded).append(named["href"])


@pytest.mark.slow
def test_nothing_comes_from_elsewhere_and_nothing_is_missing(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        found = Addresses(page)
        assert len(found.loaded) > 3 and len(found.linked) > 20
        assert not [address for address in found.loaded if re.match(r"(https?:)?//", address)]
        for address in {a.partition("#")[0] for a in found.loaded + found.linked}:
            here = address and page.name != "404.html" and not re.match(r"(https?|data|mailto):", address)
            assert not here or (page.parent / address).exists(), f"{page.name}: {address}"
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.findall(r"url\([\"']?(?:https?:)?//", styles)


@pytest.mark.slow
def test_reference_has_every_module(site):
    text = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    modules = [path for path in PACKAGE.rglob("*.py") if re.search(r"^(def|class|[A-Z_]+ = )", path.read_text(), re.M)]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    assert len(names) > 100
    assert not [name for name in names if f'id="{name}"' not in text]
    for name in ("avatar.avatar.Avatar.render", "audio.features.register_front_end", "errors.InputError"):
        assert f'id="aed_nerfstudio.{name}"' in text


@pytest.mark.slow
def test_examples_are_shown(site):
    text = re.sub(r"<[^>]+>", "", (site / "examples.html").read_text())
    for path in (ROOT / "examples").glob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())).splitlines()[0] in text, f"docs/examples.md: {path.name}"


@pytest.mark.slow
def test_broken_links_are_errors(tmp_path):
    for path in [*TOP, ROOT / "mkdocs.yml", ROOT / "LICENSE", ROOT / "CITATION.cff"]:
        shutil.copy(path, tmp_path)
    for name in ("docs", "benchmarks/results", "examples", "installation"):
        shutil.copytree(ROOT / name, tmp_path / name)
    links = ("nowhere.md", "batch.md#no-such-heading", "../benchmarks/results/none.json")
    with (tmp_path / "docs" / "viewer.md").open("a") as page:
        page.write("\n".join(["", *(f"[broken]({link})" for link in links)]))
    code, printed = build(tmp_path / "mkdocs.yml", tmp_path / "site")  # without the package: no reference, and seconds
    assert code == 1
    for link in links:
        assert re.search(rf"viewer\.md.*{re.escape(link.removeprefix('../'))}", printed), link
    assert f"Aborted with {len(links)} warnings in strict mode!" in printed  # so nothing else is wrong


@each_page
def test_links_hold_in_the_repository_too(page):
    for target in LINK.findall(page.read_text()):
        if not re.match(r"https?:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@each_page
def test_files_that_are_named_exist(page):
    places = (ROOT, PACKAGE, ROOT / "docs")
    for name in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|txt|toml))`", page.read_text()):
        known = any((place / name).exists() for place in places)
        assert known or "NAME" in name, f"{page.name}: {name} is not there"


@each_page
def test_names_that_are_given_exist(page):
    text = page.read_text()
    for name in re.findall(r"`(aed_nerfstudio(?:\.\w+)+)`", text):
        resolve(name)
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")


def resolve(name: str) -> object:
    """What a dotted name stands for."""
    module, _, rest = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), rest)


def test_targets_of_make_exist():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    workflow = ROOT / ".github" / "workflows" / "test.yml"
    steps = yaml.safe_load(workflow.read_text())["jobs"]["test"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    for page in PAGES:
        commands += re.findall(r"(?:`|^)(make [a-zA-Z.=3 ]+)", page.read_text(), re.MULTILINE)
    asked = {word for command in commands for word in re.sub(r"\S*=(\$\{\{.*?\}\}|\S*)", "", command).split()[1:]}
    assert {"test", "docs", "demo", "resolution"} <= asked <= set(phony)


def test_version_and_citation_agree():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert citation["references"][0]["doi"] in (ROOT / "README.md").read_text()
