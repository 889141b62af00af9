"""`cgap try`: one cell of a study, with any of its settings changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from compression_gap import config, studies
from compression_gap.commands.answer import Answer, finish, show_failures
from compression_gap.commands.judged import judge, read_rows, show_success
from compression_gap.pipeline.cell import Cell
from compression_gap.pipeline.plan import judged, trained_agent
from compression_gap.store import Store


def try_cell(
    study: str,
    chosen: tuple[str | None, str | None, int | None],
    leaves: dict[str, str],
    root: Path,
    workers: int,
    device: str,
    *,
    quiet: bool,
) -> Answer:
    """Trains and judges one cell of a study with other settings."""
    grid, store = studies.find(study), Store(root)
    method, sight, seed = chosen
    cell: Cell = grid.base.replace(
        method=_named(grid.methods, method, "method"),
        sight=_named(grid.sights, sight, "sight"),
        seed=grid.seeds[0] if seed is None else seed,
    )
    cell = config.override(cell, leaves)
    agent = trained_agent(cell)
    runs = {decoding: judged(agent, cell.rollouts, decoding) for decoding in cell.method.decodings}
    outcome = finish([job for jobs in runs.values() for job in jobs], store, workers, device, quiet=quiet)
    success = {
        decoding: judge(read_rows(store, jobs), cell.suite)
        for decoding, jobs in runs.items()
        if all(map(store.has, jobs))
    }
    folder = str(store.folder(agent))
    data = {
        "cell": config.to_json(cell),
        "agent": folder,
        "success": success,
        "failed": len(outcome.failed) + len(outcome.blocked),
        "seconds": round(outcome.seconds, 1),
    }

    def show(console: Console) -> None:
        console.print(Text(f"{cell.method.name} on {cell.sight.name}, seed {cell.seed}", style="bold"))
        for decoding, rows in success.items():
            show_success(rows, decoding, console)
        console.print(Text(f"agent: {folder}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def _named(options: tuple[Any, ...], name: str | None, what: str) -> Any:
    names = [option.name for option in options]
    if name is not None and name not in names:
        raise ValueError(f"the study has no {what} {name!r}; {config.closest(name, names)}")
    return options[names.index(name) if name else 0]
