"""The `regen` command: what it is made of, and how every failure ends; the work is imported only when it is called."""

import atexit
import gc
import sys
from collections.abc import Sequence

import click

from flows import cli_align, cli_machine, cli_models, cli_operations, cli_review, cli_sweep, cli_votes, cli_work
from flows.cli_base import cli
from regen.core.errors import WRITE_REFUSALS, RegenError

for module in (cli_work, cli_operations, cli_models, cli_review, cli_votes, cli_align, cli_sweep, cli_machine):
    assert module  # importing it adds its commands


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; every failure ends in one line and an exit code: 1 failed or refused, 2 wrong usage."""
    atexit.register(gc.freeze)  # else the interpreter walks through all of torch and MLflow as it ends, 1 to 3 s
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(arguments, prog_name="regen", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "regen"
        _fail(f"{error.format_message()} ('{place} --help' shows how)", code=2)
    except (KeyboardInterrupt, click.Abort):
        _fail("stopped; what was finished is kept, and the next run goes on from the last checkpoint", code=130)
    except RegenError as error:
        if debug:
            raise
        _fail(str(error))
    except OSError as error:
        if debug:
            raise
        reason = WRITE_REFUSALS.get(error.errno or 0, "")
        _fail(f"{error.strerror or error}: {error.filename or ''}" + (f" ({reason})" if reason else ""))
    except Exception as error:  # the last resort: one line, and the way to the rest
        if debug:
            raise
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ('regen --debug ...' shows where)")


def _fail(message: str, code: int = 1) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
