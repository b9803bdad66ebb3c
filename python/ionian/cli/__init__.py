"""The command ``ionian``."""

from __future__ import annotations

import sys

import click

from .. import __version__
from ..exception import Error
from .doctor import doctor
from .explain import explain
from .gpus import gpus
from .ps import ps
from .run import run
from .stop import stop


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ionian")
def cli() -> None:
    """The API of a GPU cloud, on the GPUs that people own.

    \b
    ionian run script.py                  run a script's entry point on this machine's GPUs
    ionian run --simulate A10G:2 app.py   the same on simulated GPUs
    ionian gpus                           which GPUs there are, and who uses them
    ionian ps                             what runs, holds GPUs, and waits
    ionian explain H100:2                 why these GPUs are not granted now
    ionian stop RUN                       end a run
    ionian doctor                         what is missing or wrong on this machine
    """


cli.add_command(run)
cli.add_command(gpus)
cli.add_command(doctor)
cli.add_command(ps)
cli.add_command(explain)
cli.add_command(stop)


def main() -> None:
    """Runs the command line; exits 0, 1 (it failed), 2 (it was used wrongly), 130 (Ctrl-C)."""
    try:
        sys.exit(cli(standalone_mode=False, prog_name="ionian"))
    except click.UsageError as exc:
        exc.show()
        sys.exit(2)
    except click.ClickException as exc:
        exc.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except Error as exc:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {exc}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has left, e.g. `| head`
        sys.stderr.close()
        sys.exit(1)
