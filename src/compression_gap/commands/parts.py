"""`cgap list`: the parts and studies that there are."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from compression_gap.catalogue import catalogue
from compression_gap.commands.answer import Answer


def listing(what: str | None) -> Answer:
    """The parts and studies that there are."""
    data = catalogue(what)

    def show(console: Console) -> None:
        for family, entries in data.items():
            console.print(Text(family, style="bold"))
            for name, entry in entries.items():
                console.print(Text(f"  {name}: {entry['text']}"))
                for field in entry["fields"]:
                    console.print(Text(f"      {field['name']} = {field['default']}  {field['text']}", style="dim"))

    return Answer(data, show)
