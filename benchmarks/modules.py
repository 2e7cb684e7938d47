"""Single modules out of other projects' packages, without the packages around them.

The parsers stand alone, but importing them the ordinary way runs `__init__` files that ask for torch,
transformers or huggingface_hub.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import distribution
from types import ModuleType


def stand_alone(project: str, module: str) -> ModuleType:
    """Import `a.b.module` of an installed project, relative imports included, but no `__init__` on the way.

    Raises PackageNotFoundError where the project is not installed.
    """
    package, _, name = module.rpartition(".")
    folder = distribution(project).locate_file(package.replace(".", "/"))
    alias = f"{project}:{package}".replace(".", "/")
    if alias not in sys.modules:
        bare = ModuleType(alias)
        bare.__path__ = [str(folder)]
        sys.modules[alias] = bare
    return importlib.import_module(f"{alias}.{name}")


def stand_in(module: str, **names: object) -> None:
    """Put an empty module in the place of one that is imported for these names, in annotations alone."""
    if module not in sys.modules:
        empty = ModuleType(module)
        vars(empty).update(names)
        sys.modules[module] = empty
