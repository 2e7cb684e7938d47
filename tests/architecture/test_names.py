"""The names that `from harmony_core import ...` offers."""

from __future__ import annotations

import pkgutil

import harmony_core

LISTED = set(harmony_core.__all__)
MODULES = {module.name for module in pkgutil.iter_modules(harmony_core.__path__)}
IMPORT_MACHINERY = {"TYPE_CHECKING", "annotations"}


def test_every_public_name_of_the_package_is_listed() -> None:
    public = {name for name in dir(harmony_core) if not name.startswith("_")}
    assert public - MODULES - IMPORT_MACHINERY <= LISTED


def test_every_listed_name_can_be_imported() -> None:
    # `Client` is imported on first use.
    assert {name for name in LISTED if not hasattr(harmony_core, name)} == set()


def test_a_name_that_is_not_listed_is_missing() -> None:
    assert not hasattr(harmony_core, "Server")
