"""Finds the parts by name: a built-in table, then entry points of installed packages; imported on first use."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

# family -> kind -> "module:class" below compression_gap. The class is a spec; importing it may need an extra.
BUILT_IN: dict[str, dict[str, str]] = {
    "suites": {
        "tabletop": "suites.tabletop.suite:Tabletop",
        "libero": "suites.libero.suite:Libero",
    },
    "encoders": {
        "state": "encoders.state:State",
        "blind": "encoders.blind:Blind",
        "channel": "encoders.channel:Channel",
        "convnet": "encoders.convnet:ConvNet",
        "supervised": "encoders.supervised:Supervised",
        "random_conv": "encoders.random_conv:RandomConv",
        "resnet18": "encoders.resnet:ResNet18",
        "pretrained": "encoders.pretrained:Pretrained",
    },
    "tokenizers": {
        "oat": "tokenizers.oat:Oat",
        "binning": "tokenizers.binning:Binning",
        "fast": "tokenizers.fast:Fast",
        "quest": "tokenizers.quest:Quest",
        "rvq": "tokenizers.rvq:Rvq",
        "hub": "tokenizers.hub:Hub",
    },
    "policies": {
        "diffusion": "policies.diffusion:Diffusion",
        "flow": "policies.flow:Flow",
        "regression": "policies.regression:Regression",
        "autoregressive": "policies.autoregressive:Autoregressive",
    },
    "settings": {
        "agent": "agent:AgentSpec",
        "data": "pipeline.cell:Data",
        "sight": "pipeline.cell:Sight",
        "training": "training:Training",
        "token_probing": "measures.token_probe:TokenProbing",
        "contrast": "measures.contrastive:Contrast",
        "cell": "pipeline.cell:Cell",
        "method": "pipeline.cell:Method",
        "rollouts": "rollout:Rollouts",
        "probing": "measures.encoder_probe:Probing",
        "chunking": "data.trajectories:Chunking",
        "head_training": "verdict.head_learning:HeadTraining",
    },
    "jobs": {
        "demonstrations": "pipeline.jobs:Demonstrations",
        "recording": "pipeline.jobs:Recording",
        "recorded_demonstrations": "pipeline.jobs:RecordedDemonstrations",
        "libero_hdf5": "pipeline.jobs:LiberoHdf5",
        "drawings": "pipeline.jobs:Drawings",
        "trained_encoder": "pipeline.jobs:TrainedEncoder",
        "features": "pipeline.jobs:Features",
        "trained_tokenizer": "pipeline.jobs:TrainedTokenizer",
        "trained_agent": "pipeline.jobs:TrainedAgent",
        "evaluation": "pipeline.jobs:Evaluation",
        "videos": "pipeline.jobs:Videos",
        "replay": "pipeline.jobs:Replay",
        "open_loop": "pipeline.jobs:OpenLoop",
        "chunk_noise": "pipeline.jobs:ChunkNoise",
        "noise_distortion": "pipeline.jobs:NoiseDistortion",
        "noisy_replay": "pipeline.jobs:NoisyReplay",
        "code_distortion": "pipeline.jobs:CodeDistortion",
        "token_bits": "pipeline.jobs:TokenBits",
        "modelability": "pipeline.jobs:Modelability",
        "tokenizer_quality": "pipeline.jobs:TokenizerQuality",
        "diffusion_rate": "pipeline.jobs:DiffusionRate",
        "pose_error": "pipeline.jobs:PoseError",
        "action_denoisers": "pipeline.jobs:ActionDenoisers",
        "encoder_quality": "pipeline.jobs:EncoderQuality",
        "file_dataset": "pipeline.jobs:FileDataset",
        "suite_dataset": "pipeline.jobs:SuiteDataset",
        "action_ledger": "pipeline.jobs:ActionLedger",
        "audit_tokenizer": "pipeline.jobs:AuditTokenizer",
        "code_audit": "pipeline.jobs:CodeAudit",
        "audit_denoisers": "pipeline.jobs:AuditDenoisers",
        "audit_head": "pipeline.jobs:AuditHead",
        "arm_bits": "pipeline.jobs:ArmBits",
        "gripper_bits": "pipeline.jobs:GripperBits",
        "certified_bits": "pipeline.jobs:CertifiedBits",
    },
}

# families that other packages may add to, through entry points `compression_gap.<family>`
OPEN_FAMILIES = ("suites", "encoders", "tokenizers", "policies")

# what to install when a part's import fails, by the module that is missing
EXTRAS = {"libero": "libero", "robosuite": "libero", "mujoco": "libero", "transformers": "vision"}


def kinds(family: str) -> list[str]:
    """All names known in a family, built in and installed."""
    return sorted({*BUILT_IN.get(family, {}), *_installed(family)})


def find(family: str, kind: str) -> type:
    """The spec class of a kind.

    Raises ValueError with the closest name if the family or the kind is unknown, and
    ImportError naming the extra to install if the part's own libraries are missing.
    """
    built_in = BUILT_IN.get(family, {})
    try:
        if kind in built_in:
            module, _, name = built_in[kind].partition(":")
            return getattr(import_module(f"compression_gap.{module}"), name)
        if kind in _installed(family):
            return _installed(family)[kind].load()
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ImportError(
            f"{family}/{kind} needs {error.name!r}, which is not installed: pip install 'compression-gap[{extra}]'"
        ) from error
    names = kinds(family)
    if not names:
        raise ValueError(f"there is no family {family!r}; there are {', '.join(BUILT_IN)}")
    near = difflib.get_close_matches(kind, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise ValueError(f"{family} has no kind {kind!r}; {hint}")


@cache
def _installed(family: str) -> dict:
    if family not in OPEN_FAMILIES:
        return {}
    return {point.name: point for point in entry_points(group=f"compression_gap.{family}")}
