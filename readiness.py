"""The front door: the `readiness` command, nothing but dispatch."""

from __future__ import annotations

import typer

from commands import (
    archive,
    bisecting,
    bugs,
    checkpoints,
    discover,
    findings,
    history,
    images,
    machine,
    measuring,
    own,
    planning,
    propose,
    reproducing,
    results,
    watchdog,
)
from commands.options import err, refuse
from matrix.errors import Infrastructure, WrongInput
from reports import outcome

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which inference engine runs which model rightly and at speed. Start with `doctor`, then `run`.",
)
for room in (
    planning, measuring, results, archive, history, bugs, reproducing, bisecting, findings, checkpoints, machine, own,
    discover, propose, watchdog,
):  # fmt: skip
    app.add_typer(room.app)
app.add_typer(images.app, name="images")


def main() -> None:
    """Run the command; wrong input is one line on standard error and exit status 2."""
    try:
        app()
    except WrongInput as error:
        refuse(str(error))
    except Infrastructure as error:
        err.print(f"readiness: {error}")
        raise SystemExit(outcome.NOT_MEASURED) from None


if __name__ == "__main__":
    main()
