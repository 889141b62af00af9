"""A cell names one choice of every part and a seed; a grid is the cells of one question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_type_hints

from compression_gap.agent import AgentSpec, Fusion
from compression_gap.config import Spec, added_later, closest, coerce, vary
from compression_gap.encoders.base import EncoderSpec
from compression_gap.policies.base import Decoding, PolicySpec
from compression_gap.rollout import Rollouts
from compression_gap.suites.base import SuiteSpec
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.training import Training

CODEBOOKS_FROM = 4  # of one family, from which on a line through them is drawn
PROBE_TRAINING = Training(steps=1500, batch=128, schedule="cosine")


@dataclass(frozen=True)
class Data(Spec, family="settings", kind="data", version=1):
    """Which demonstrations are made and what is taken from them."""

    episodes: int
    """Attempts of the expert a task, from the protocol's initial state 0 on; successes are kept."""
    stride: int = 1
    """A training window at every so many steps."""
    encoder_episodes: int = 0
    """Further attempts a task, after those, on whose frames encoders are pretrained."""
    encoder_stride: int = 1
    """A pretraining frame at every so many steps."""
    tokenizer_episodes: int = 0
    """Further attempts a task, after those, whose actions (never drawn) the tokenizer sees besides."""
    recordings: tuple[str, ...] = ()
    """Instead of the expert: recorded demonstrations, one file a task, by the names that `cgap import` tells."""
    protocol: str = added_later("demonstrations")
    """The set of initial states that the expert's attempts begin from: one that no policy is judged on."""


@dataclass(frozen=True)
class Method(Spec, family="settings", kind="method"):
    """How actions are produced."""

    name: str
    """As tables call it."""
    policy: PolicySpec
    training: Training
    tokenizer: TokenizerSpec | None = None
    tokenizer_training: Training | None = None
    """For learned tokenizers."""
    decodings: tuple[Decoding, ...] = ("greedy",)
    """How chunks are taken from it; the first is the primary one. Continuous policies know one way."""

    def __post_init__(self) -> None:
        learned = self.tokenizer is not None and self.tokenizer.learned
        if learned != (self.tokenizer_training is not None):
            raise ValueError(f"method {self.name!r}: learned tokenizers, and only they, have a tokenizer_training")


@dataclass(frozen=True)
class Sight(Spec, family="settings", kind="sight"):
    """How observations are seen."""

    name: str
    """As tables call it: weak, strong, state, blind, ..."""
    encoder: EncoderSpec
    pretraining: Training | None = None
    """For encoders that are pretrained."""
    fusion: Fusion = added_later("step")
    """What a conditioning token is (`AgentSpec.fusion`)."""
    width: int | None = added_later(None)
    """To which width vectors are projected (`AgentSpec.width`)."""

    def __post_init__(self) -> None:
        steps = self.pretraining.steps if self.pretraining else 0
        if steps != self.encoder.pretraining_steps:
            raise ValueError(
                f"sight {self.name!r}: its encoder {self.encoder.kind!r} is pretrained for "
                f"{self.encoder.pretraining_steps} steps and its pretraining has {steps}"
            )


@dataclass(frozen=True)
class Cell(Spec, family="settings", kind="cell"):
    """One trained and evaluated agent."""

    suite: SuiteSpec
    data: Data
    method: Method
    sight: Sight
    rollouts: Rollouts
    horizon: int = 16
    """Actions a chunk (T)."""
    history: int = 1
    """Frames the agent looks at (H)."""
    seed: int = 0
    """Reseeds the policy and the tokenizer; demonstrations and pretrained encoders are shared between seeds."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if self.rollouts.execute > self.horizon:
            raise ValueError(f"rollouts execute {self.rollouts.execute} actions of a chunk of only {self.horizon}")
        given, needed = len(self.data.recordings), self.suite.num_tasks
        if given not in (0, needed):
            raise ValueError(f"data.recordings: expected one for each of the suite's {needed} tasks, got {given}")
        if not given and self.data.protocol == self.rollouts.protocol:
            raise ValueError(
                f"data.protocol: the demonstrations begin from the states that the policy is judged on, "
                f"{self.data.protocol!r}; choose another for one of them"
            )
        attempts = self.data.episodes + self.data.encoder_episodes + self.data.tokenizer_episodes
        if not given:
            self.suite.check_episodes(self.data.protocol, attempts)
        self.suite.check_episodes(self.rollouts.protocol, self.rollouts.episodes)
        _ = self.agent  # raises if the parts do not fit

    @property
    def agent(self) -> AgentSpec:
        """What the cell's agent is made of."""
        sight, method = self.sight, self.method
        parts = (sight.encoder, method.policy, method.tokenizer)
        return AgentSpec(*parts, self.horizon, self.history, sight.fusion, sight.width)


@dataclass(frozen=True)
class Grid:
    """The cells of one question: every method with every sight under every seed, everything else as in `base`."""

    name: str
    question: str
    base: Cell
    methods: tuple[Method, ...]
    """Each one with a tokenizer is compared with the one without that stands last before it."""
    sights: tuple[Sight, ...]
    seeds: tuple[int, ...]
    weak: str
    strong: str
    """Names of the sights between which the encoder gain is taken."""
    development: Rollouts
    """Initial states outside the grid, on which convergence is measured."""
    tolerance_mm: float | None = None
    """The primary tolerance, declared before the run; None for suites that know only success and failure."""
    state: str | None = None
    """Name of the sight with the true state, if there is one: the ladder needs it."""
    probe_training: Training = PROBE_TRAINING
    """Of the model that measures code lengths: the same for every tokenizer, so that they compare."""
    demonstrates_only: bool = False
    """A study that shows how the program works and is no evidence; its report says so."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            object.__setattr__(self, name, coerce(getattr(self, name), hint, f"Grid.{name}"))
        sights = [sight.name for sight in self.sights]
        for field, names in {"methods": [method.name for method in self.methods], "sights": sights}.items():
            if not names or len(set(names)) < len(names):
                raise ValueError(f"Grid.{field}: expected at least one, each with a name of its own; got {names}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"Grid.seeds: expected at least one, each once; got {self.seeds}")
        for field in ("weak", "strong", "state"):
            if (name := getattr(self, field)) is not None and name not in sights:
                raise ValueError(f"Grid.{field}: there is no sight {name!r}; {closest(name, sights)}")

    @property
    def comparisons(self) -> list[tuple[Method, Method]]:
        """Every method with a tokenizer, after the continuous one that it is compared with."""
        pairs, continuous = [], None
        for method in self.methods:
            if method.tokenizer is None:
                continuous = method
            elif continuous is not None:
                pairs.append((continuous, method))
        return pairs

    @property
    def codebooks(self) -> list[tuple[Method, ...]]:
        """Families of at least four codebooks: methods that differ in nothing but a tokenizer of one kind."""
        families: dict[object, list[Method]] = {}
        for method in self.methods:
            if method.tokenizer is not None:
                alike = (method.policy, method.training, method.tokenizer_training, method.decodings)
                families.setdefault((method.tokenizer.kind, *alike), []).append(method)
        return [tuple(family) for family in families.values() if len(family) >= CODEBOOKS_FROM]

    @property
    def cells(self) -> list[Cell]:
        """Method by method, sight by sight, seed by seed."""
        return vary(self.base, method=self.methods, sight=self.sights, seed=self.seeds)
