"""Settings that name files in other storages, with local copies in the place of the files.

In: the settings of a stage. Out: the settings that its code can work with on this machine. Settings keep the address
until then, because each machine of a cluster needs a copy of its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from corpus.store.copies import local_copy
from corpus.store.open import is_remote


def on_this_machine(config: Any) -> Any:
    """`config` with local copies of what its path settings name. Raises ValueError naming the setting and the file."""
    copies = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        paths = (value,) if isinstance(value, str) else value
        if not field.metadata.get("path") or not paths or not any(map(is_remote, paths)):
            continue
        try:
            local = tuple(local_copy(path) if is_remote(path) else path for path in paths)
        except (OSError, ValueError) as error:
            raise ValueError(f"{field.name}: {error}") from None
        copies[field.name] = local[0] if isinstance(value, str) else local
    return dataclasses.replace(config, **copies) if copies else config
