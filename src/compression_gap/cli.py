"""The command line: from what was typed to a command's answer. What is heavy is imported after that was checked."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compression_gap.arguments import MEASURED, arguments
from compression_gap.consent import trust_remote_code
from compression_gap.output import complain, said, shown
from compression_gap.store import StoreError

if TYPE_CHECKING:
    from compression_gap.commands import Answer, Asked, Selection, Source

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, 1 if jobs failed, 2 for bad input, 130 after Ctrl-C."""
    parser = arguments()
    try:
        args, rest = parser.parse_known_args(argv)
        following = ("try", "audit", "collect", "encoders", "export", "evaluate", "tokenizers", "tolerance")
        if rest and args.command not in following:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    except SystemExit as end:  # it has told what was asked for, or what is wrong
        raise SystemExit(end.code if said("") else FAILED) from None
    try:
        answer = call(args, rest)
    except KeyboardInterrupt:
        complain("\nstopped: nothing that was finished is lost, and the same command resumes from here")
        return INTERRUPTED
    except (ValueError, StoreError, ImportError, OSError) as error:
        complain(f"cgap: {error}{_meant(args, rest, str(error))}")
        return BAD_INPUT
    text = json.dumps(answer.data, allow_nan=False) + "\n" if args.json else shown(answer)
    return FAILED if not said(text) or answer.failed else 0


def call(args: argparse.Namespace, rest: list[str]) -> Answer:
    """The command's answer."""
    from compression_gap import commands

    if getattr(args, "trust_remote_code", False):
        trust_remote_code()
    match args.command:
        case "run" if args.dry_run:
            return commands.forecast(args.study, args.store, args.workers, args.videos)
        case "run":
            run_with = (args.store, args.workers, args.device)
            return commands.run_study(args.study, *run_with, args.videos, quiet=args.json)
        case "status":
            return commands.status(args.store)
        case "report":
            return commands.report(args.study, args.store, args.out)
        case "try":
            chosen = (args.method, args.sight, args.seed)
            run_with = (args.store, args.workers, args.device)
            return commands.try_cell(args.study, chosen, leaves(rest), *run_with, quiet=args.json)
        case "collect":
            stride = None if args.no_pictures else args.stride
            return commands.collect(selection(args, rest), stride, args.store, args.workers, quiet=args.json)
        case "encoders":
            run_with = (args.store, args.workers, args.device)
            return commands.encoders(selection(args, rest), args.encoder, *run_with, quiet=args.json)
        case "audit":
            return commands.audit(asked(args, rest), args.store, args.workers, args.device, quiet=args.json)
        case "import":
            return commands.import_files(args.files, args.store)
        case "export":
            return commands.export_files(selection(args, rest), args.out, args.store, args.workers, quiet=args.json)
        case "tokenizers":
            chunks = (args.horizon, args.stride, args.store, args.workers)
            return commands.tokenizers(coded(args, rest), args.tokenizer, *chunks, quiet=args.json)
        case "tolerance":
            chunking = commands.TypedChunking(args.horizon, args.stride)
            judged = (args.protocol or "test", args.rollouts, args.execute)
            replay_with = (chunking, judged, args.store, args.workers)
            return commands.tolerance(selection(args, rest), args.tokenizer, *replay_with, quiet=args.json)
        case "list":
            return commands.listing(args.what)
        case "evaluate":
            rollouts = (args.protocol, args.episodes, args.execute)
            run_with = (args.workers, args.device)
            settings = (args.decoding, args.videos, leaves(rest))
            return commands.evaluate(args.folder, rollouts, *settings, *run_with, quiet=args.json)
    raise AssertionError(f"{args.command} is not wired")


def selection(args: argparse.Namespace, rest: list[str]) -> Selection:
    """Which demonstrations are meant. Raises ValueError for files beside a suite, or with options of suites."""
    from compression_gap.commands import Selection, measured_states, recorded
    from compression_gap.data.formats.libero_hdf5 import SUFFIXES

    typed = args.dataset if "dataset" in args else [args.suite]
    files = [Path(word) for word in typed if Path(word).suffix in SUFFIXES]
    if not files and len(typed) == 1:
        states = args.initial_states or measured_states(typed[0])
        return Selection(typed[0], args.tasks, args.episodes or MEASURED, states, leaves(rest))
    if len(files) < len(typed):
        raise ValueError(f"expected the name of one suite, or LIBERO's .hdf5 files; got {' '.join(typed)}")
    choices = (args.tasks, args.initial_states, getattr(args, "protocol", None))
    if any(choice is not None for choice in choices):
        told = "--tasks, --initial-states and --protocol choose among a suite's"
        raise ValueError(f"{told}; of files, give those that are meant")
    return recorded(files, args.episodes or MEASURED, leaves(rest), args.store)


def coded(args: argparse.Namespace, rest: list[str]) -> Selection | Source:
    """What tokenizers are measured on: a suite, LIBERO's files, or files as they are audited. Raises ValueError for
    options of such files beside something else."""
    first = Path(args.dataset[0])
    if first.suffix == ".npz" or first.is_dir():
        return source(args, rest)
    if args.features or args.suite:
        option, value = ("--features", args.features[0]) if args.features else ("--suite", args.suite)
        raise ValueError(f"{option} {value}: it is for an .npz or a LeRobot folder; leave it away")
    return selection(args, rest)


def asked(args: argparse.Namespace, rest: list[str]) -> Asked:
    """What is audited."""
    from compression_gap.commands import Asked

    return Asked(source(args, rest), args.tokenizer, args.budget, args.horizon, args.stride)


def source(args: argparse.Namespace, rest: list[str]) -> Source:
    """Where demonstrations are."""
    from compression_gap.commands import Selection, Source, measured_states

    typed = {name: getattr(args, name) for name in ("tasks", "episodes", "initial_states")}
    for_suites = {f"--{name.replace('_', '-')}" for name, value in typed.items() if value is not None}
    states = args.initial_states or measured_states(args.dataset[0])
    chosen = Selection(args.dataset[0], args.tasks, args.episodes or MEASURED, states, leaves(rest))
    return Source(args.dataset, chosen, args.features, getattr(args, "encoder", []), args.suite, for_suites)


def _meant(args: argparse.Namespace, rest: Sequence[str], error: str) -> str:
    """The option that was probably meant, where a word that is none was taken for a setting and is complained about."""
    options = [f"--{name.replace('_', '-')}" for name in vars(args)]
    for word in rest:
        name = word.partition("=")[0]
        if word.startswith("--") and name[2:] in error and (near := difflib.get_close_matches(name, options, n=1)):
            return f" (or the option {near[0]}?)"
    return ""


def leaves(rest: list[str]) -> dict[str, str]:
    """`--a.b value` and `--a.b=value` as {"a.b": "value"}.

    Raises ValueError if something else stands there.
    """
    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (not equals and (value := next(words, "")) == ""):
            raise ValueError(f"expected settings as --name value, got {word!r}")
        found[name] = value
    return found
