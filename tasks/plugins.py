"""Monitors and sinks by name: the file's name is its name in the settings, and its `Config` says what may be set.

One place for what both need: what exists, one attribute of one file, and a `Config` made from the settings with every name and type
checked. There is no registry: a file in the folder is found because it is there. Not covered: sources, whose settings are one class for all.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError

from data_contracts.errors import Fatal


class UnknownPlugin(Fatal):
    """The settings name a monitor or sink that has no file."""


class PluginRefused(Fatal):
    """A monitor's or sink's own settings are not allowed; the text never holds a value, which may be a secret."""


def names(package: str) -> tuple[str, ...]:
    """The plugins there are: the files of the folder `package`, such as `tasks.monitors`."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(import_module(package).__path__)))


def resolve(package: str, name: str, attribute: str) -> Any:
    """`attribute` of the plugin `name` of `package`."""
    if name not in names(package):
        folder = package.replace(".", "/")
        raise UnknownPlugin(f"{package}: given {name!r}; allowed are {list(names(package))}, the files of {folder}/")
    return pkgutil.resolve_name(f"{package}.{name}:{attribute}")


def configure(package: str, name: str, given: Mapping[str, object]) -> Any:
    """The plugin's `Config` with the settings `given`; unknown names and wrong types are refused."""
    kind: Any = resolve(package, name, "Config")
    allowed = [field.name for field in dataclasses.fields(kind)]
    if unknown := sorted(set(given) - set(allowed)):
        raise PluginRefused(f"{package}.{name}: given the settings {unknown}; allowed are {allowed}")
    try:
        return TypeAdapter(kind).validate_python(dict(given))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise PluginRefused(f"{package}.{name}: {wrong}") from None
