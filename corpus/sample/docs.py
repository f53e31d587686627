"""Installed Python packages -> pages of documentation.

In: the source files of the standard library and of the packages that this project needs anyway. Out: HTML pages of
their docstrings, under reserved host names. Sources are parsed and never imported. So no module runs, modules that
would open a window need not be left out, and it takes a tenth of the time. The repository holds no text of others; the
text is read where it is installed.

Three modules in four become a guide (the paragraphs of prose in their docstrings), one in four a reference (signatures,
parameters, examples). The quality rules, which are made for prose, keep most guides and drop most references.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from corpus.sample import docstring
from corpus.sample.template import page

# `.[data]` and `.[model]` install them. A package that is missing is left out.
PACKAGES = (
    "click", "numpy", "pyarrow", "rich", "jinja2", "matplotlib", "scipy", "urllib3", "numba", "trafilatura", "torch",
    "networkx", "sympy",
)  # fmt: skip
# Folders and files whose docstrings are empty, internal or jokes.
_SKIPPED = {
    "test", "tests", "testing", "lib2to3", "idlelib", "turtledemo", "site-packages", "dist-packages", "ensurepip",
    "pydoc_data", "_vendor", "encodings", "__pycache__", "f2py", "this.py", "antigravity.py",
}  # fmt: skip
_FULL_PAGE = 70  # words; a shorter docstring is a section of its module's reference page
_GUIDE_WORDS = (90, 900)  # a guide has at least 90 words, and at most 900 if its last section is not long
_GUIDES_A_FILE, _REFERENCES_A_FILE = 8, 3  # pages, so that a few large modules do not fill the sample
_LICENCES = 40
_QUOTED = re.compile(r'"""(.+?)"""', re.DOTALL)
_LITTLE = 700  # characters of docstrings; a file with fewer, or with almost only code, is not parsed

_Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Doc(NamedTuple):
    """A page of documentation: `html` is the whole page, `main` the part without the frame of its site."""

    url: str
    title: str
    main: str
    html: str


def documentation(pages: int, seed: int) -> Iterator[Doc]:
    """Up to `pages` pages. Packages take turns; the same installed packages and seed give the same pages."""
    sources = [_stdlib_docs(seed), *(_package_docs(name, seed) for name in PACKAGES), _topics(), _licences(seed)]
    for _ in range(pages):
        while sources:
            source = sources.pop(0)
            doc = next(source, None)
            if doc is not None:
                sources.append(source)
                yield doc
                break


def _stdlib_docs(seed: int) -> Iterator[Doc]:
    root = Path(sysconfig.get_path("stdlib"))
    yield from _file_docs(root, root, "https://docs.example.org/3", seed)


def _package_docs(name: str, seed: int) -> Iterator[Doc]:
    package = importlib.util.find_spec(name)  # imports nothing, because `name` has no dots
    if package is not None and package.submodule_search_locations:
        root = Path(package.submodule_search_locations[0])
        yield from _file_docs(root, root.parent, f"https://docs.{name}.example", seed)


def _file_docs(folder: Path, root: Path, address: str, seed: int) -> Iterator[Doc]:
    """The pages of the modules in `folder`, whose names are relative to `root`."""
    names = [file.relative_to(root) for file in _sources(folder)]
    for name in sorted(names, key=lambda name: _rank(seed, name.as_posix())):
        module = ".".join(name.with_suffix("").parts).removesuffix(".__init__")
        guide = _rank(seed, f"guide {module}")[0] % 4 != 0
        yield from _module_docs(root / name, module, address, guide=guide)


def _sources(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        wanted = (name for name in files if name.endswith(".py") and not name.startswith("test"))
        yield from (Path(parent, name) for name in wanted if name not in _SKIPPED)


def _rank(seed: int, name: str) -> bytes:
    """A pseudo-random place in the order, the same on every machine and in every Python."""
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()


def _module_docs(file: Path, module: str, address: str, *, guide: bool) -> Iterator[Doc]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as for an invalid escape in a string of theirs
        try:
            with tokenize.open(file) as opened:
                source = opened.read()
            if sum(map(len, _QUOTED.findall(source))) < max(_LITTLE, len(source) // 6):
                return
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):  # written for another Python, or a template
            return
    if guide:
        yield from islice(_guide(tree, module, address), _GUIDES_A_FILE)
    else:
        yield from islice(_reference(tree, module, address), _REFERENCES_A_FILE)


def _guide(tree: ast.Module, module: str, address: str) -> Iterator[Doc]:
    """The module's prose, private objects included, in pages of limited length."""
    seen: set[str] = set()
    sections: list[str] = []
    words = page_number = 0
    nodes = list(_documented(tree))
    for last, node in zip([False] * (len(nodes) - 1) + [True], nodes, strict=True):
        paragraphs = [text for text in docstring.prose(ast.get_docstring(node) or "") if text not in seen]
        if paragraphs:
            seen.update(paragraphs)
            heading = "Overview" if isinstance(node, ast.Module) else node.name.strip("_").replace("_", " ")
            sections += [f"<h2>{heading}</h2>", *(f"<p>{docstring.inline(text)}</p>" for text in paragraphs)]
            words += sum(len(text.split()) for text in paragraphs)
        if words >= _GUIDE_WORDS[1] or (last and words >= _GUIDE_WORDS[0]):
            page_number += 1
            part = f", part {page_number}" if page_number > 1 else ""
            yield _doc(f"{address}/guide/{module}-{page_number}.html", f"Guide to {module}{part}", "\n".join(sections))
            sections, words = [], 0


def _reference(tree: ast.Module, module: str, address: str) -> Iterator[Doc]:
    """The page of a module (its docstring and its small objects), then a page for each of its larger objects."""
    sections, full = [], []
    for node in tree.body:
        if isinstance(node, _Documented) and node.name[0] != "_":
            text = _text(node)
            if len(text.split()) >= _FULL_PAGE:
                full.append(node)
            elif text:
                sections.append(_section(node))
    intro = ast.get_docstring(tree) or ""
    if intro or sections:
        main = docstring.render(intro) + "\n" + "\n".join(sections)
        yield _doc(f"{address}/library/{module}.html", module, main)
    for node in full:
        name = f"{module}.{node.name}"
        yield _doc(f"{address}/generated/{name}.html", name, _section(node))


def _documented(node: ast.Module | _Documented) -> Iterator[ast.Module | _Documented]:
    """`node` and all objects that are defined in it, in the order of the source."""
    yield node
    for child in node.body:
        if isinstance(child, _Documented):
            yield from _documented(child)


def _text(node: _Documented) -> str:
    """The docstrings of an object and of its public methods."""
    return "\n\n".join(filter(None, [ast.get_docstring(node), *map(_text, _methods(node))]))


def _methods(node: _Documented) -> list[_Documented]:
    if not isinstance(node, ast.ClassDef):
        return []
    functions = (child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))
    return [child for child in functions if child.name[0] != "_" and ast.get_docstring(child)]


def _section(node: _Documented) -> str:
    """Signature, docstring and, for a class, its methods."""
    if isinstance(node, ast.ClassDef):
        signature = f"class {node.name}"
    else:
        signature = f"{node.name}({', '.join(argument.arg for argument in node.args.args)})"
    parts = [f"<h2>{docstring.inline(signature)}</h2>", docstring.render(ast.get_docstring(node) or "")]
    return "\n".join([*parts, *map(_section, _methods(node))])


def _topics() -> Iterator[Doc]:
    """The language reference that `help()` prints: long, real prose."""
    file = Path(sysconfig.get_path("stdlib"), "pydoc_data", "topics.py")
    if not file.exists():
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            name, text = _string(key), _string(value)
            if name and text:
                yield _doc(f"https://docs.example.org/3/topics/{name}.html", name, docstring.render(text))


def _string(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _licences(seed: int) -> Iterator[Doc]:
    """The licence texts of installed packages, which are natural near-duplicates."""
    folder = Path(sysconfig.get_path("purelib"))
    files = {file.relative_to(folder).as_posix(): file for file in folder.glob("*.dist-info/**/LICEN[SC]E*")}
    for name in sorted(files, key=lambda name: _rank(seed, name))[:_LICENCES]:
        if files[name].is_file():
            text = files[name].read_text(encoding="utf-8", errors="replace")
            package = name.split("-")[0].lower().replace("_", "-")
            slug = "-".join(name.split("/")[1:]).lower()
            paragraphs = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
            main = docstring.render(paragraphs)
            yield _doc(f"https://licences.example/{package}/{slug}.html", f"Licence of {package}", main)


def _doc(url: str, title: str, main: str) -> Doc:
    return Doc(url, title, main, page(url, title, main))
