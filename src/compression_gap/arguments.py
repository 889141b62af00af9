"""What can be typed: commands, their options and what these mean."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from compression_gap.store import default_root

MEASURED = 300  # attempts a task of a suite, where nothing else is typed
SUITES = "tabletop, libero_10, libero_object, libero_spatial, ..."


def arguments() -> argparse.ArgumentParser:
    """Everything that can be typed."""
    whole = argparse.ArgumentParser(
        prog="cgap", description="Where is a visuomotor policy's information bottleneck, and what will an upgrade buy?"
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        return parser

    def stored(parser: argparse.ArgumentParser) -> None:
        text = "where results are kept (default: $CGAP_STORE, else ./store)"
        parser.add_argument("--store", type=Path, default=default_root(), metavar="DIR", help=text)

    def workers(parser: argparse.ArgumentParser) -> None:
        cores = len(os.sched_getaffinity(0))
        text = f"jobs side by side (default: the {cores} cores of this machine)"
        parser.add_argument("--workers", type=count, default=cores, metavar="N", help=text)

    def running(parser: argparse.ArgumentParser) -> None:
        workers(parser)
        parser.add_argument(
            "--device", choices=("cpu", "cuda"), default="cpu", help="where networks run (default: cpu)"
        )

    def trusting(parser: argparse.ArgumentParser) -> None:
        text = "let Python code run that comes with a hub's processor, with your rights; read it first (default: never)"
        parser.add_argument("--trust-remote-code", action="store_true", help=text)

    def filming(parser: argparse.ArgumentParser) -> None:
        text = "film the first N episodes of every task and cell as mp4 (needs the extra `video`)"
        parser.add_argument("--videos", type=count, default=0, metavar="N", help=text)

    def selecting(parser: argparse.ArgumentParser, episodes: int, *, files: bool = False) -> None:
        """Of a suite; where there may be files instead, what was not typed is None."""
        parser.add_argument("--tasks", type=int, nargs="+", metavar="N", help="only these (default: all)")
        text = f"attempts a task (default: {episodes})"
        parser.add_argument("--episodes", type=count, default=None if files else episodes, metavar="N", help=text)
        usual = "default; of LIBERO: random" if files else "default"
        text = f"fixed: those that a suite sets apart for demonstrations ({usual}); random: other ones, of LIBERO"
        parser.add_argument("--initial-states", default=None if files else "fixed", metavar="NAME", help=text)
        stored(parser)

    def measuring(parser: argparse.ArgumentParser) -> None:
        text = f"a suite ({SUITES}), or LIBERO's .hdf5 files of people's demonstrations, one a task"
        parser.add_argument("dataset", nargs="+", metavar="DATASET", help=text)
        selecting(parser, MEASURED, files=True)

    def collecting(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("suite", metavar="SUITE", help=SUITES)
        selecting(parser, episodes=50)
        workers(parser)

    study = "name of a study (cgap list studies), or a .py file of your own with a function grid()"

    run = command("run", "Run a study: finish every job that is not finished, and write the report.")
    run.add_argument("study", metavar="STUDY", help=study)
    stored(run)
    running(run)
    run.add_argument("--dry-run", action="store_true", help="only list the jobs, with estimated time, disk and memory")

    filming(run)
    trusting(run)

    stored(command("status", "Show the store: its place, what is finished, unfinished and failed."))

    report = command("report", "Write a study's report again from what is in the store.")
    report.add_argument("study", metavar="STUDY", help=study)
    stored(report)
    report.add_argument("--out", type=Path, metavar="FILE", help="where to (default: reports/STUDY.html in the store)")

    attempt = command("try", "Run one cell of a study, with any of its settings changed: --method.policy.width 128")
    attempt.add_argument("study", metavar="STUDY", help=study)
    attempt.add_argument("--method", metavar="NAME", help="one of the study's methods (default: the first)")
    attempt.add_argument("--sight", metavar="NAME", help="one of the study's sights (default: the first)")
    attempt.add_argument("--seed", type=int, metavar="N", help="training seed (default: the study's first)")
    stored(attempt)
    running(attempt)
    trusting(attempt)

    text = "Make demonstrations with a suite's scripted experts; settings of the suite follow: --image_size 128"
    collect = command("collect", text)
    collecting(collect)
    collect.add_argument("--stride", type=count, default=1, metavar="N", help="draw every N-th frame (default: 1)")
    collect.add_argument("--no-pictures", action="store_true", help="only simulate")

    text = (
        "Measure what encoders tell about the next actions, in bits, and how exactly they see; suite settings follow."
    )
    telling = command("encoders", text)
    measuring(telling)
    text = "KIND or KIND:field=value,field=value; may be repeated (default: a ladder from random features to the state)"
    telling.add_argument("--encoder", action="append", default=[], metavar="KIND", help=text)
    running(telling)

    text = (
        "Where is the bottleneck of your own data: in the encoder, the tokenizer, or the policy and the amount of "
        "data? What will each upgrade buy? Settings of a suite follow."
    )
    auditing = command("audit", text)
    text = "an .npz, LIBERO's .hdf5 files, the folder of a LeRobot dataset (v3.0, v2.1), or the name of a suite"
    auditing.add_argument("dataset", nargs="+", metavar="DATASET", help=text)
    selecting(auditing, MEASURED, files=True)
    text = "KIND or KIND:field=value,field=value; may be repeated (default: binning and fast, and oat from 10m on)"
    auditing.add_argument("--tokenizer", action="append", default=[], metavar="KIND", help=text)
    text = (
        "KIND or KIND:field=value,field=value of the policy's encoder, which is shown the pictures of a suite or of "
        ".hdf5 files (pretrained:model=...); given again, of a candidate for its place"
    )
    auditing.add_argument("--encoder", action="append", default=[], metavar="KIND", help=text)
    text = (
        "an .npy, or an .npz with the field `features`: what the policy's encoder made of every step; given again, "
        "what a candidate for its place made of them"
    )
    auditing.add_argument("--features", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = "the suite whose units and grippers hold for the actions of files"
    auditing.add_argument("--suite", metavar="NAME", help=text)
    text = "how long it may take on two cores; the answer says what that left out (default: 2m)"
    auditing.add_argument("--budget", choices=("2m", "10m", "1h"), default="2m", help=text)
    auditing.add_argument("--horizon", type=count, default=16, metavar="T", help="actions a chunk (default: 16)")
    auditing.add_argument("--stride", type=count, default=4, metavar="N", help="a chunk at every N steps (default: 4)")
    running(auditing)
    trusting(auditing)

    reading = command("import", "Put people's demonstrations in LIBERO's HDF5 files into the store.")
    reading.add_argument("files", type=Path, nargs="+", metavar="FILE", help="<task>_demo.hdf5")
    stored(reading)

    export = command("export", "Write demonstrations of LIBERO's scripted experts as LIBERO's HDF5 files.")
    collecting(export)
    export.add_argument("--format", choices=("libero-hdf5",), default="libero-hdf5", help="default: libero-hdf5")
    export.add_argument("--out", type=Path, default=Path("exported"), metavar="DIR", help="default: ./exported")

    text = "Measure action tokenizers side by side: bits, error, robustness and speed; suite settings follow."
    tokenizers = command("tokenizers", text)
    text = (
        f"a suite ({SUITES}), LIBERO's .hdf5 files of people's demonstrations, one a task, an .npz, or the folder of a "
        "LeRobot dataset (v3.0, v2.1)"
    )
    tokenizers.add_argument("dataset", nargs="+", metavar="DATASET", help=text)
    selecting(tokenizers, MEASURED, files=True)
    text = "of an .npz or a folder: an .npy, or an .npz with the field `features`, of every step"
    tokenizers.add_argument("--features", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = "of an .npz or a folder: the suite whose units and grippers hold for its actions"
    tokenizers.add_argument("--suite", metavar="NAME", help=text)
    workers(tokenizers)
    trusting(tokenizers)
    tokenizers.add_argument("--horizon", type=count, default=16, metavar="T", help="actions a chunk (default: 16)")
    tokenizers.add_argument(
        "--stride", type=count, default=4, metavar="N", help="a chunk at every N steps (default: 4)"
    )
    text = (
        "KIND or KIND:field=value,field=value, in its small size where nothing else is said; may be repeated "
        "(default: one of every kind that needs no files)"
    )
    tokenizers.add_argument("--tokenizer", action="append", default=[], metavar="KIND", help=text)

    text = (
        "Measure how much distortion of the actions a suite tolerates, and what codes make of the expert, replayed "
        "closed loop and open loop, or of people's demonstrations, replayed open loop; suite settings follow."
    )
    tolerance = command("tolerance", text)
    measuring(tolerance)
    workers(tolerance)
    trusting(tolerance)
    text = "initial states a task of every replay, and demonstrations replayed open loop (default: 15)"
    tolerance.add_argument("--rollouts", type=count, default=15, metavar="N", help=text)
    text = "set of initial states of the replays (default: test)"
    tolerance.add_argument("--protocol", metavar="NAME", help=text)
    text = "actions of a chunk between looks (default: 8, or all if fewer)"
    tolerance.add_argument("--execute", type=count, metavar="N", help=text)
    text = "actions a chunk (default: those of a trained tokenizer, else 16)"
    tolerance.add_argument("--horizon", type=count, metavar="T", help=text)
    text = "fit on a chunk at every N steps (default: as a trained tokenizer, else 4)"
    tolerance.add_argument("--stride", type=count, metavar="N", help=text)
    text = (
        "KIND or KIND:field=value,field=value, in its small size where nothing else is said, or a trained_tokenizer "
        "folder of the store; may be repeated (default: oat)"
    )
    tolerance.add_argument("--tokenizer", action="append", default=[], metavar="KIND", help=text)

    listing = command("list", "List the parts that a cell can be made of, with their settings, or the studies.")
    what = ("suites", "encoders", "tokenizers", "policies", "studies")
    listing.add_argument("what", nargs="?", choices=what, help="only these (default: all)")

    evaluate = command(
        "evaluate",
        "Judge a trained agent again. With settings of its suite changed (--rendering reference), it is judged both "
        "ways and compared episode by episode.",
    )
    evaluate.add_argument("folder", type=Path, metavar="FOLDER", help="a trained_agent folder of a store")
    evaluate.add_argument("--episodes", type=count, default=15, metavar="N", help="a task (default: 15)")
    evaluate.add_argument("--protocol", metavar="NAME", help="set of initial states (default: test)", default="test")
    evaluate.add_argument(
        "--execute", type=count, metavar="N", help="actions of a chunk between looks (default: 8, or all if fewer)"
    )
    evaluate.add_argument("--decoding", choices=("greedy", "sampled"), default="greedy", help="default: greedy")
    filming(evaluate)
    running(evaluate)
    trusting(evaluate)
    return whole


def count(text: str) -> int:
    """A whole number from 1 on; argparse tells people the function's name."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number
