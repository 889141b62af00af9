"""`cgap encoders`: what encoders tell about the next actions, and how exactly they see, in one table and one figure."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from compression_gap import plugins
from compression_gap.commands.answer import Answer, finish, plain_table, report_path, show_failures
from compression_gap.commands.encoder_costs import encoder_costs
from compression_gap.commands.selection import Selection
from compression_gap.commands.typed import encoder_named
from compression_gap.config import counted, to_json
from compression_gap.data.split import parts_of
from compression_gap.encoders.base import EncoderSpec
from compression_gap.encoders.blind import Blind
from compression_gap.encoders.channel import Channel
from compression_gap.encoders.state import State
from compression_gap.encoders.supervised import Supervised
from compression_gap.measures.encoder_probe import Probing
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.jobs import (
    SUMMARY,
    ActionDenoisers,
    Drawings,
    EncoderQuality,
    Features,
    TrainedEncoder,
)
from compression_gap.pipeline.jobs.encoder import encoder_of
from compression_gap.pipeline.plan import pretrained
from compression_gap.report.encoders import EncoderRow, render
from compression_gap.report.measured import Measured
from compression_gap.store import Store, write_text
from compression_gap.suites.base import SuiteSpec

HORIZON, STRIDE = 8, 4
"""Actions a chunk that bits are about, and a window at every so many steps: as in the quickstart study."""
GRIPPER = TokenProbing(steps=300, width=32, fractions=(0.5, 1.0))
"""How bits about gripper commands are measured, with the seeds of the denoisers and no more steps than they take."""
RANDOM = "random_conv"


@dataclass(frozen=True)
class Rung:
    """An encoder of the ladder."""

    name: str
    spec: EncoderSpec
    trained: TrainedEncoder | None
    quality: EncoderQuality
    control: str = ""
    """What a control arm shows; empty for others."""


def encoders(
    selection: Selection,
    typed: Sequence[str],
    root: Path,
    workers: int,
    device: str,
    *,
    quiet: bool,
    probing: Probing | None = None,
) -> Answer:
    """Measures the typed encoders, or a ladder from random features to the true state, on one suite."""
    suite_spec, store = selection.spec(), Store(root)
    specs = [(text, encoder_named(text)) for text in typed] or default_ladder(pretrained=not selection.recorded)
    rungs = _rungs(selection, suite_spec, specs, probing or Probing())
    outcome = finish([rung.quality for rung in rungs], store, workers, device, quiet=quiet)
    done = [rung for rung in rungs if store.has(rung.quality)]
    rows = [_row(store, rung) for rung in done]
    costs = [
        encoder_costs(rung.spec, encoder_of(store, rung.spec, rung.trained, suite_spec), suite_spec.build(), HORIZON)
        for rung in done
    ]
    page = report_path(store, "encoders", selection.name, [rung.quality for rung in rungs])
    if rows:
        write_text(page, render(selection.name, rows, _command(selection, typed)))
    told = [dataclasses.asdict(row) | dataclasses.asdict(cost) for row, cost in zip(rows, costs, strict=True)]
    data = {
        "suite": to_json(suite_spec),
        "horizon": HORIZON,
        "encoders": told,
        "report": str(page) if rows else None,
        "seconds": round(outcome.seconds, 1),
        "failed": len(outcome.failed) + len(outcome.blocked),
    }

    def show(console: Console) -> None:
        if rows:
            _show(told, console)
            console.print(Text(f"report: {page}"), soft_wrap=True)
        show_failures(outcome, console)

    return Answer(data, show, failed=bool(outcome.failed))


def default_ladder(*, pretrained: bool = True) -> list[tuple[str, EncoderSpec]]:
    """From features that were never trained to the true state, with or without encoders that are pretrained here."""
    never = [(RANDOM, encoder_named(RANDOM))] if RANDOM in plugins.kinds("encoders") else []
    supervised = [(f"supervised:steps={steps}", Supervised(steps=steps)) for steps in (240, 700)] if pretrained else []
    return [*never, *supervised, ("channel:sigma=5", Channel(sigma=5.0)), ("state", State())]


def _rungs(
    selection: Selection, suite: SuiteSpec, specs: Sequence[tuple[str, EncoderSpec]], probing: Probing
) -> list[Rung]:
    """The encoders and the control arms. Whatever is pretrained learns from as many further demonstrations."""
    built = suite.build()
    by_task = selection.jobs(suite, built)
    demos = tuple(job for jobs in by_task.values() for job in jobs)
    parts_of(np.repeat(np.arange(len(by_task)), selection.attempts))  # too few are refused before any is made
    gripper = GRIPPER.replace(steps=min(GRIPPER.steps, probing.steps), seeds=probing.seeds)
    actions = ActionDenoisers(demos, HORIZON, STRIDE, probing, gripper if built.legend.gripper else None)
    blind = EncoderQuality(Blind(), None, (), actions)

    def rung(name: str, spec: EncoderSpec, control: str = "", *, shuffled: bool = False) -> Rung:
        trained, features = None, ()
        if spec.pretraining_steps and selection.recorded:
            raise ValueError(
                f"--encoder {name}: it is pretrained on further demonstrations, and files have no others; give one "
                "that reads pictures as it is, such as pretrained:model=..., or a suite's name instead of files"
            )
        if spec.pretraining_steps:
            trained = pretrained(spec, suite, selection.further(suite, selection.attempts, selection.attempts))
        if spec.sees:
            features = tuple(
                Features(spec, trained, Drawings(job, suite.cameras, history=1, stride=STRIDE)) for job in demos
            )
        quality = EncoderQuality(spec, trained, features, actions, baseline=blind, shuffled=shuffled)
        return Rung(name, spec, trained, quality, control)

    ladder = [rung(name, spec) for name, spec in specs]
    name, spec = next(((name, spec) for name, spec in reversed(specs) if spec.sees), specs[-1])
    controls = [
        Rung("no pictures", Blind(), None, blind, "proprioception and task alone"),
        rung("shuffled", spec, f"other windows' features of {name}", shuffled=True),
    ]
    if not any(isinstance(spec, State) for _, spec in specs):
        controls.append(rung("state", State(), "what a perfect encoder would tell"))
    return [*ladder, *controls]


def _row(store: Store, rung: Rung) -> EncoderRow:
    told = json.loads((store.folder(rung.quality) / SUMMARY).read_text())
    objects = told["pose"]
    pose = objects.get("task") or next(iter(objects.values()))
    return EncoderRow(
        name=rung.name,
        control=rung.control,
        sees=rung.spec.sees,
        width=told["width"],
        error_mm=_measured(pose["mm"]),
        error_degrees=_measured(pose["degrees"]),
        bits=_measured(told["bits"]),
        beyond=_measured(told["beyond"]),
        gripper=_measured(told["gripper"]["bits"]) if "gripper" in told else None,
        sigma=told["sigma"],
        linear_bits=told["linear_bits"],
        converged=told["converged"] and told.get("gripper", {"converged": True})["converged"],
        interface=_interface(told),
        test_demonstrations=told["test_demonstrations"],
        test_chunks=told["test_chunks"],
        left_out=tuple(told["left_out"]),
    )


def _interface(told: dict[str, Any]) -> str:
    """Which way of using the features did better; "none" if they are ignored for the gripper's commands too."""
    of_gripper = told.get("gripper", {"interface": "none"})["interface"]
    ignored = told["interface"] == "none"
    return f"gripper: {of_gripper}" if ignored and of_gripper != "none" else told["interface"]


def _measured(told: dict[str, Any] | None) -> Measured | None:
    return None if told is None else Measured(told["value"], told["low"], told["high"], over="demonstrations")


def _command(selection: Selection, typed: Sequence[str]) -> str:
    encoders = [word for text in typed for word in ("--encoder", text)]
    return shlex.join(["cgap", "encoders", *selection.words(encoders)])


def _show(told: Sequence[dict[str, Any]], console: Console) -> None:
    columns = ("encoder", ">parameters", ">pictures/s", ">width", ">error mm", ">degrees", ">bits beyond", ">in all")
    gripped = told[0]["gripper"] is not None
    listed = plain_table(*columns, *([">of the gripper"] if gripped else []), ">ms a step")
    listed.columns[0].no_wrap = True
    for number, row in enumerate(told):
        if row["control"] and not told[number - 1]["control"]:
            listed.add_row("control arms", style="dim")
        speed = "" if row["pictures_per_second"] is None else f"{row['pictures_per_second']:,.0f}"
        listed.add_row(
            row["name"],
            f"{row['parameters']:,}",
            speed,
            str(row["width"]),
            _interval(row["error_mm"]),
            _interval(row["error_degrees"]),
            "ignored" if row["interface"] == "none" else _interval(row["beyond"]),
            _interval(row["bits"]) + ("" if row["converged"] else " !"),
            *([_interval(row["gripper"])] if gripped else []),
            f"{1000 * row['training_step_seconds']:.1f}",
        )
    console.print(listed)
    for line in notes(told):
        console.print(Text(line, style="dim"))


def notes(told: Sequence[dict[str, Any]]) -> list[str]:
    """What to know when reading the table."""
    first = told[0]
    left_out = ", ".join(first["left_out"]) or "nothing"
    lines = [
        f"Bits about the next {HORIZON} actions that a probe can use, looked at through noise of {first['sigma']:g} on "
        f"actions scaled to [-1, 1]; beyond proprioception and the task; left out: {left_out}.",
        f"On {first['test_chunks']} chunks of {counted(first['test_demonstrations'], 'demonstration')} that nothing "
        "was fitted on; 95 % for other demonstrations. A step is one of a small Diffusion on these features, 64 "
        "windows.",
    ]
    if not all(row["converged"] for row in told):
        lines.append("! not converged: more demonstrations would tell more bits.")
    if any(row["interface"] == "none" for row in told):
        lines.append(
            "ignored: the probe did better without the features, so they are worth 0 bits to it. From few "
            "demonstrations it cannot learn to use them: before you think little of the encoder, try more."
        )
    if any(row["bits"]["value"] < 0 for row in told):
        lines.append("Below 0: on demonstrations of its own the probe did better, so it learned them by heart.")
    return lines


def _interval(number: dict[str, Any] | None) -> str:
    if number is None:
        return ""
    return f"{number['value'] + 0.0:.1f} [{number['low'] + 0.0:.1f}, {number['high'] + 0.0:.1f}]"
