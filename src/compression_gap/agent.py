"""An agent is an encoder, a policy and the scaling between them: the one object that sees an observation and acts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from compression_gap.config import Spec, added_later, from_json, to_json
from compression_gap.data.normalise import Standardise
from compression_gap.encoders.base import EncoderSpec
from compression_gap.policies.base import Decoding, PolicySpec, Sampled
from compression_gap.shapes import Batch, ChunkShape, Loss
from compression_gap.suites.base import Legend
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.training import WEIGHTS, save_tensors

Fusion = Literal["step", "vector"]


@dataclass(frozen=True)
class AgentSpec(Spec, family="settings", kind="agent"):
    """What an agent is made of."""

    encoder: EncoderSpec
    policy: PolicySpec
    tokenizer: TokenizerSpec | None
    horizon: int
    """Actions a chunk (T)."""
    history: int = 2
    """Frames the agent looks at (H): the newest and those one, two, ... steps before."""
    fusion: Fusion = added_later("step")
    """What a conditioning token is: a whole step, its vectors, proprioception and task side by side; or each vector of
    a step, and one more for its proprioception and task."""
    width: int | None = added_later(None)
    """A learned projection brings every vector to this width, so that encoders of different widths condition alike;
    None: as the encoder gives them."""

    def __post_init__(self) -> None:
        if self.width is not None and self.width < 1:
            raise ValueError(f"width of the projected vectors: expected at least 1, got {self.width}")
        if self.policy.discrete != (self.tokenizer is not None):
            have = "a tokenizer" if self.tokenizer else "no tokenizer"
            need = "a tokenizer" if self.policy.discrete else "none"
            raise ValueError(f"policy {self.policy.kind!r} needs {need} and the cell has {have}")

    def build(self, legend: Legend, tasks: Sequence[str]) -> Agent:
        """An untrained agent for a suite. Weights come from torch's global generator."""
        return Agent(self, legend, tasks)


class Agent(nn.Module):
    """Sees the last H frames and acts.

    In a control loop of your own:

        agent = Agent.load(folder)
        agent.begin(tasks=[0], seeds=[0])
        while True:
            agent.observe(observation)          # arrays [1, ...] by the names in agent.reads, at each of H steps
            actions = agent.plan().chunk[0]     # [T, D] in the suite's units; execute some, then look again
    """

    def __init__(self, spec: AgentSpec, legend: Legend, tasks: Sequence[str]) -> None:
        super().__init__()
        self.spec, self.legend, self.tasks = spec, legend, tuple(tasks)
        shape = ChunkShape(spec.horizon, len(legend.action))
        self.encoder = spec.encoder.build(legend)
        tokenizer = spec.tokenizer.build(shape) if spec.tokenizer else None
        if tokenizer is not None:
            tokenizer.requires_grad_(False)
        self.standardise_features = Standardise(self.encoder.width, self.encoder.units)
        self.standardise_proprioception = Standardise(len(legend.proprioception))
        vector, rest = spec.width or self.encoder.width, len(legend.proprioception) + len(tasks)
        self.project = nn.Linear(self.encoder.width, vector) if spec.width else nn.Identity()
        self.tell = nn.Linear(rest, vector) if spec.fusion == "vector" else nn.Identity()
        width, tokens = self.encoder.vectors * vector + rest, spec.history
        if spec.fusion == "vector":
            width, tokens = vector, spec.history * (self.encoder.vectors + 1)
        self.policy = spec.policy.build(shape, width, tokens, tokenizer)
        self.reads = tuple(dict.fromkeys((*self.encoder.reads, "proprioception")))
        self._task = torch.zeros(0, dtype=torch.int64)
        self._generators: list[torch.Generator] = []
        self._history: dict[str, Tensor] = {}

    def condition(self, observation: Mapping[str, Tensor], task: Int[Tensor, " B"]) -> Float[Tensor, "B C F"]:
        """Conditioning tokens, oldest step first: one a step, or of each step its K vectors and then the rest."""
        size, history = observation["proprioception"].shape[:2]
        features = observation.get("features")
        if features is None:
            frames = {name: observation[name].flatten(0, 1) for name in self.encoder.reads}
            features = self.encoder.encode(frames).unflatten(0, (size, history))
        seen = self.project(self.standardise_features(features.float()))  # [B, H, K, F]
        felt = self.standardise_proprioception(observation["proprioception"].float())
        told = nn.functional.one_hot(task, len(self.tasks)).float()[:, None].expand(-1, history, -1)
        rest = self.tell(torch.cat([felt, told], dim=-1))
        if self.spec.fusion == "vector":
            return torch.cat([seen, rest[:, :, None]], dim=2).flatten(1, 2)
        return torch.cat([seen.flatten(2), rest], dim=-1)

    def train(self, mode: bool = True) -> Agent:
        """Training mode for what is trained; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if not self.encoder.trained:
            self.encoder.eval()
        return self

    def loss(self, batch: Batch) -> Loss:
        """The policy's loss; features that come with the batch are used as they are, others are computed."""
        return self.policy.loss(self.condition(batch.observation, batch.task), batch.target)

    def begin(self, tasks: Sequence[int], seeds: Sequence[int]) -> None:
        """Starts E episodes: the task of each, and the seed of its own random draws.

        Raises ValueError for a task that it does not know, or if there are not as many seeds as tasks.
        """
        if unknown := [task for task in tasks if not 0 <= task < len(self.tasks)]:
            raise ValueError(f"the agent knows tasks 0 to {len(self.tasks) - 1}, got {unknown[0]}: {self.tasks}")
        if len(tasks) != len(seeds):
            raise ValueError(f"expected a seed for each of the {len(tasks)} episodes, got {len(seeds)}")
        self._task = torch.tensor(list(tasks), dtype=torch.int64, device=self.device)
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._history = {}

    def observe(self, observation: Mapping[str, np.ndarray]) -> None:
        """Takes in the newest frame of every episode: arrays [E, ...] for each name in `reads`.

        Raises ValueError if a name is missing, or if there are not as many frames as episodes or values.
        """
        missing = [name for name in self.reads if name not in observation]
        if missing:
            raise ValueError(f"the agent needs observations {', '.join(self.reads)}; missing: {', '.join(missing)}")
        self._check(observation)
        for name in self.reads:
            frame = torch.from_numpy(np.ascontiguousarray(observation[name]))[:, None].to(self.device)
            if name == "stamp" and frame.shape[-1] == 2:
                frame = torch.cat([frame, torch.zeros_like(frame[..., :1])], dim=-1)  # epoch 0: a rollout happens once
            before = self._history.get(name, frame.expand(-1, self.spec.history, *frame.shape[2:]))
            self._history[name] = torch.cat([before[:, 1:], frame], dim=1)

    @torch.no_grad()
    def plan(self, decoding: Decoding = "greedy") -> Sampled:
        """One action chunk an episode from the frames observed so far; NaN where it is not `valid`.

        Raises ValueError before the first frame.
        """
        if not self._history:
            raise ValueError("the agent has seen nothing: call begin, then observe, then plan")
        return self.policy.sample(self.condition(self._history, self._task), self._generators, decoding)

    def _check(self, observation: Mapping[str, np.ndarray]) -> None:
        widths = {"proprioception": len(self.legend.proprioception), "state": len(self.legend.state)}
        for name in self.reads:
            shape, episodes = np.shape(observation[name]), len(self._generators)
            expected = (episodes, widths.get(name, "..."))
            if shape[:1] != (episodes,) or (name in widths and shape != expected):
                got = f"expected [{', '.join(map(str, expected))}], got {list(shape)}"
                raise ValueError(f"observation {name!r}: {got}, after begin with {episodes} episodes")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.standardise_proprioception.mean.device

    def save(self, folder: Path) -> None:
        """Writes agent.json and weights.safetensors."""
        description = {"agent": to_json(self.spec), "legend": asdict(self.legend), "tasks": list(self.tasks)}
        (folder / "agent.json").write_text(json.dumps(description, indent=1))
        save_tensors(self.state_dict(), folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path | str, weights: str = WEIGHTS) -> Agent:
        """The agent that a folder holds, ready to act.

        Raises ValueError if the folder holds no agent.
        """
        path = Path(folder) / "agent.json"
        if not path.exists():
            raise ValueError(f"{folder} holds no agent.json; give a trained_agent folder of a store")
        description = json.loads(path.read_text())
        legend: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description["legend"].items()}
        agent = from_json(description["agent"]).build(Legend(**legend), description["tasks"])
        agent.load_state_dict(load_file(Path(folder) / weights))
        return agent.eval()
