"""`cgap status`: what is in a store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.text import Text

from compression_gap.commands.answer import Answer, plain_table, size
from compression_gap.store import Store, StoreError, verify


def status(root: Path) -> Answer:
    """What is in a store."""
    store = Store(root)
    kinds: dict[str, dict[str, float]] = {}
    damaged = []
    for folder in store.folders():
        try:
            files = verify(folder)["files"]
        except StoreError as error:
            damaged.append(str(error))
            continue
        kind = kinds.setdefault(folder.parent.name, {"results": 0, "disk_mb": 0.0})
        kind["results"] += 1
        kind["disk_mb"] += sum(files.values()) / 1e6
    data = {
        "store": str(store.root),
        "free_disk_mb": store.free_mb,
        "finished": kinds,
        "unfinished": store.unfinished(),
        "failures": [dataclasses.asdict(failure) for failure in store.failures()],
        "damaged": damaged,
    }

    def show(console: Console) -> None:
        console.print(Text(f"store: {store.root} ({size(data['free_disk_mb'])} free)"), soft_wrap=True)
        listed = plain_table("finished", ">results", ">disk")
        for name, kind in kinds.items():
            listed.add_row(name.replace("_", " "), f"{kind['results']:.0f}", size(kind["disk_mb"]))
        console.print(listed if kinds else "nothing is finished")
        for name in data["unfinished"]:
            console.print(f"unfinished (running now, or resumed by the next run): {name}")
        for failure in data["failures"]:
            console.print(
                Text(f"\nfailed: {failure['job']}: {failure['error']}\n{failure['traceback']}"), soft_wrap=True
            )
        for error in damaged:
            console.print(Text(f"damaged: {error}"), soft_wrap=True)

    return Answer(data, show)
