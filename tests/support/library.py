"""What holds for the public names of a package: no module hides them, and their documentation runs."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import types

# Modules that need what only some machines have.
NEEDS = {"model.loss_kernel": "triton", "model.swiglu": "triton", "model.loss_fp8": "triton"}


def import_every_module(package: str) -> None:
    """Import all modules of a package, except for those that need a package that is not installed here."""
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if module.name.endswith("__main__"):
            continue
        if module.name in NEEDS and importlib.util.find_spec(NEEDS[module.name]) is None:
            continue
        importlib.import_module(module.name)


def check_names(package: str) -> None:
    """Every public name is found after all modules are imported, is no module, is listed, and is documented."""
    import_every_module(package)
    library = importlib.import_module(package)
    modules = {module.name for module in pkgutil.iter_modules(library.__path__)}
    for name in library.__all__:
        value = getattr(library, name)
        assert name not in modules
        assert not isinstance(value, types.ModuleType)
        assert name in dir(library)
        if callable(value):
            assert f">>> from {package} import" in (value.__doc__ or ""), name
            assert name in value.__doc__, name
        else:
            examples = [line for line in (library.__doc__ or "").splitlines() if ">>>" in line]
            assert any(f"{package}.{name}" in line for line in examples), name


def run_examples(package: str) -> None:
    """Run the examples of the package's docstring and of each public name."""
    library = importlib.import_module(package)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    subjects = [(package, library), *((name, getattr(library, name)) for name in library.__all__)]
    for name, subject in subjects:
        if name != package and not callable(subject):
            continue
        module = sys.modules[subject.__module__] if name != package else library
        for test in finder.find(subject, f"{package}.{name}", module=module, globs={}):
            if name != package or test.name == f"{package}.{package}":
                runner.run(test)
    assert runner.tries > len(library.__all__)
    assert runner.failures == 0


def modules_after(statement: str) -> set[str]:
    """The top-level names of the modules that a new process has after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())
