"""How an answer leaves: to a terminal, a pipe whose reader may go, or a disk that may be full."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compression_gap.commands import Answer

WIDTH = 118  # of files and pipes, which have none


def shown(answer: Answer) -> str:
    """The answer as it is shown on the standard output, in its width and colours."""
    from rich.console import Console  # takes its time, which help should not

    out, found = Console(), io.StringIO()
    width = out.width if out.is_terminal or "COLUMNS" in os.environ else WIDTH
    like = {"width": width, "force_terminal": out.is_terminal, "color_system": out.color_system}
    answer.show(Console(file=found, highlight=False, **like))  # pyright: ignore[reportArgumentType]
    return found.getvalue()


def said(text: str) -> bool:
    """Writes a text, and what is still waiting, to the standard output; whether that went well."""
    if sys.stdout is None:  # it was closed from the beginning
        return True
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that knows ASCII only loses signs, not the answer
        if text:
            sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else what waits is tried again at the exit
        if isinstance(error, BrokenPipeError):  # whoever reads us has seen enough
            return True
        complain(f"cgap: the answer cannot be written to the standard output ({error.strerror}): send it elsewhere")
        return False
    return True


def complain(line: str) -> None:
    """One line on the standard error, if anybody listens."""
    if sys.stderr is None:  # it was closed from the beginning; print would take the standard output
        return
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
