"""Python reads this at the start of every process that a test starts: the folder is in PYTHONPATH (tests/conftest.py).

Pandas cannot be imported in these processes, as where a user has installed the toolkit alone; the tests have it because
`datasets` needs it. Where it can be imported, PyArrow does that at the first list that it converts, for a quarter of a
second in each process.
"""

import sys
from importlib.machinery import ModuleSpec


class Missing:
    """Finds pandas, and fails to load it."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):  # type: ignore[no-untyped-def]
        return ModuleSpec(name, cls) if name == "pandas" else None  # type: ignore[arg-type]

    @classmethod
    def create_module(cls, spec):  # type: ignore[no-untyped-def]
        raise ModuleNotFoundError("No module named 'pandas'", name="pandas")

    @classmethod
    def exec_module(cls, module):  # type: ignore[no-untyped-def]
        raise AssertionError


sys.meta_path.insert(0, Missing)
