"""A function's parameters as options of the command line."""

from __future__ import annotations

import datetime
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import click

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


def command_for(
    name: str, raw: Callable[..., Any], run: Callable[[list[Any], dict[str, Any]], None]
) -> click.Command:
    """Returns a command whose options are the parameters of ``raw``; it calls ``run(args, kwargs)``.

    ``width: int = 64`` becomes ``--width``, ``use_gpu: bool`` ``--use-gpu/--no-use-gpu``; a parameter
    without a default is required; ``*args`` takes the words that are left, as texts.
    """
    parameters: list[click.Parameter] = []
    rest: str | None = None
    try:
        hints = typing.get_type_hints(raw)
    except Exception:
        hints = {}
    for parameter in inspect.signature(raw).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = parameter.name
            parameters.append(click.Argument([parameter.name], nargs=-1))
        elif parameter.kind is parameter.VAR_KEYWORD:
            raise click.UsageError(
                f"{name}: **{parameter.name} cannot be given on the command line"
            )
        else:
            parameters.append(
                _option(name, parameter, hints.get(parameter.name, parameter.annotation))
            )

    def callback(**values: Any) -> None:
        args = list(values.pop(rest)) if rest is not None else []
        run(args, values)

    doc = inspect.getdoc(raw)
    return click.Command(
        name,
        params=parameters,
        callback=callback,
        help=doc,
        context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    )


def _option(name: str, parameter: inspect.Parameter, annotation: Any) -> click.Option:
    flag = parameter.name.replace("_", "-")
    kind, optional = _type_of(name, parameter.name, annotation)
    # An explicit default of None would count as given.
    more: dict[str, Any] = {}
    if parameter.default is not parameter.empty:
        more["default"] = parameter.default
    elif not optional:
        more["required"] = True
    if kind is click.BOOL:
        return click.Option([f"--{flag}/--no-{flag}", parameter.name], is_flag=True, **more)
    return click.Option([f"--{flag}", parameter.name], type=kind, **more)


def _type_of(name: str, parameter: str, annotation: Any) -> tuple[Any, bool]:
    """Returns the parser of a type, and whether None is one of its values."""
    optional = False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        optional = len(members) < len(typing.get_args(annotation))
        if len(members) == 1:
            annotation = members[0]
    if typing.get_origin(annotation) is typing.Literal:
        values = typing.get_args(annotation)
        if all(isinstance(value, str) for value in values):
            return click.Choice(values), optional
    known: dict[Any, Any] = {
        inspect.Parameter.empty: click.STRING,
        Any: click.STRING,
        str: click.STRING,
        int: click.INT,
        float: click.FLOAT,
        bool: click.BOOL,
        datetime.datetime: click.DateTime(_FORMATS),
    }
    try:
        return known[annotation], optional
    except (KeyError, TypeError):
        raise click.UsageError(
            f"{name}: parameter {parameter!r} has a type that the command line cannot read: {annotation!r}\n"
            "expected: str, int, float, bool, datetime.datetime, Literal of texts, or one of them or None"
        ) from None
