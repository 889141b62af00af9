"""What the commands do: a file for each, or for two that belong together."""

from compression_gap.commands.agent import evaluate
from compression_gap.commands.answer import Answer
from compression_gap.commands.audit import Asked, audit
from compression_gap.commands.audit_data import Source
from compression_gap.commands.cell import try_cell
from compression_gap.commands.collect import collect
from compression_gap.commands.encoders import encoders
from compression_gap.commands.files import export_files, import_files
from compression_gap.commands.parts import listing
from compression_gap.commands.recordings import recorded
from compression_gap.commands.selection import Selection, measured_states
from compression_gap.commands.store import status
from compression_gap.commands.study import forecast, report, run_study
from compression_gap.commands.tokenizers import tokenizers
from compression_gap.commands.tolerance import TypedChunking, tolerance

__all__ = [
    "Answer",
    "Asked",
    "Selection",
    "Source",
    "TypedChunking",
    "audit",
    "collect",
    "encoders",
    "evaluate",
    "export_files",
    "forecast",
    "import_files",
    "listing",
    "measured_states",
    "recorded",
    "report",
    "run_study",
    "status",
    "tokenizers",
    "tolerance",
    "try_cell",
]
