"""``script.py::function``: what to load, and what in it to run."""

from __future__ import annotations

import importlib
import os
import sys
import types
from dataclasses import dataclass

import click

from .. import entry, runner
from ..app import App, LocalEntrypoint
from ..function import Function

Runnable = LocalEntrypoint | Function


@dataclass(frozen=True)
class Reference:
    """A file or a module, and a name in it ("" to find the obvious one)."""

    target: str
    name: str
    is_module: bool

    @classmethod
    def parse(cls, text: str, is_module: bool) -> Reference:
        target, found, name = text.partition("::")
        if not found and ":" in text:
            head, _, tail = text.rpartition(":")
            raise click.UsageError(f"{text!r}: did you mean '{head}::{tail}'?")
        if not is_module and not target.endswith(".py") and not os.path.exists(target):
            if all(part.isidentifier() for part in target.split(".")):
                raise click.UsageError(
                    f"{target!r} is no file; for a module write `ionian run -m {text}`"
                )
        return cls(target, name, is_module)

    def load(self) -> types.ModuleType:
        """Imports it. Raises UsageError if it is not there, and what its own code raises."""
        if self.is_module:
            sys.path.insert(0, os.getcwd())
            try:
                return importlib.import_module(self.target)
            except ModuleNotFoundError as exc:
                if exc.name is None or not self.target.startswith(exc.name):
                    raise
                raise click.UsageError(f"there is no module {self.target!r} here") from exc
        if not os.path.isfile(self.target):
            raise click.UsageError(f"there is no file {self.target!r}")
        module, name = entry.load_script(self.target)
        runner.script = (os.path.abspath(self.target), name)
        return module


def apps_of(module: types.ModuleType) -> dict[str, App]:
    """Returns the apps of a module by the names that it gives them; each app once."""
    apps: dict[str, App] = {}
    for name, value in vars(module).items():
        if isinstance(value, App) and value not in apps.values():
            apps[name] = value
    return apps


def runnables_of(module: types.ModuleType) -> dict[str, tuple[App, Runnable]]:
    """Returns all that can be run, entry points first."""
    apps = apps_of(module)
    found: dict[str, tuple[App, Runnable]] = {}
    for app in apps.values():
        for name, entrypoint in app.registered_entrypoints.items():
            found[name] = (app, entrypoint)
    for app in apps.values():
        for name, function in app.registered_functions.items():
            found.setdefault(name, (app, function))
    return found


def choose(module: types.ModuleType, reference: Reference) -> tuple[App, Runnable]:
    """Returns what to run: by name, else the only entry point, else the only function."""
    found = runnables_of(module)
    if not found:
        raise click.UsageError(
            f"{reference.target} has no app with functions\n"
            'next: write `app = ionian.App("name")` and decorate a function with `@app.function()`'
        )
    if reference.name:
        name = reference.name
        apps = apps_of(module)
        head, _, tail = name.partition(".")
        if head in apps and tail:
            name = tail
        if name in found:
            return found[name]
        value = getattr(module, name, None)
        if isinstance(value, (LocalEntrypoint, Function)):
            for app, runnable in found.values():
                if runnable is value:
                    return app, runnable
        raise click.UsageError(
            f"{reference.target} has no {reference.name!r}\n{_listing(found, reference)}"
        )
    for kind in (LocalEntrypoint, Function):
        of_kind = [pair for pair in found.values() if isinstance(pair[1], kind)]
        if len(of_kind) == 1:
            return of_kind[0]
        if of_kind:
            break
    raise click.UsageError(f"say which one to run\n{_listing(found, reference)}")


def _listing(found: dict[str, tuple[App, Runnable]], reference: Reference) -> str:
    flag = "-m " if reference.is_module else ""
    return "\n".join(
        ["it has:", *(f"  ionian run {flag}{reference.target}::{name}" for name in found)]
    )
