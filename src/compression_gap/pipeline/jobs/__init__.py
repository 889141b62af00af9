"""Every kind of job, and what feeds what; `pipeline.plan` wires them for a cell.

Demonstrations -> Drawings -> TrainedEncoder -> PoseError
       |              '-----------.- Features -.
       '-> TrainedTokenizer ------'------------+-> TrainedAgent -> Evaluation
                |-> WrittenCodes -> TrainedAgent, where a code is searched for
                '-> Replay, OpenLoop, CodeDistortion, Modelability, TokenBits -> TokenizerQuality

Demonstrations (-> TrainedTokenizer) -> ChunkNoise -> NoiseDistortion, NoisyReplay.

Demonstrations -> DiffusionRate, on whose plane tokenizers stand.
Demonstrations -> ActionDenoisers -> EncoderQuality, which reads Features too where the encoder sees.

FileDataset or SuiteDataset -> ActionLedger
       '-> AuditTokenizer -> CodeAudit, AuditHead; TokenBits -> TokenizerQuality, as of a suite's TrainedTokenizer
       '-> DatasetRate
       '-> AuditDenoisers -> ArmBits
       '-> GripperBits, CertifiedBits

Recording -> RecordedDemonstrations take the place of Demonstrations where people's are imitated; LiberoHdf5 exports.
"""

from compression_gap.pipeline.jobs.action_denoisers import ActionDenoisers
from compression_gap.pipeline.jobs.action_ledger import ActionLedger
from compression_gap.pipeline.jobs.agent import TrainedAgent
from compression_gap.pipeline.jobs.audit_certified import CertifiedBits
from compression_gap.pipeline.jobs.audit_denoising import ArmBits, AuditDenoisers
from compression_gap.pipeline.jobs.audit_gripper import GripperBits
from compression_gap.pipeline.jobs.audit_heads import AuditHead
from compression_gap.pipeline.jobs.chunked import FittedTokenizer
from compression_gap.pipeline.jobs.codes import WrittenCodes
from compression_gap.pipeline.jobs.data import EPISODES, SUMMARY, Demonstrations, Drawings
from compression_gap.pipeline.jobs.dataset import FileDataset, SuiteDataset
from compression_gap.pipeline.jobs.diffusion_rate import DatasetRate, DiffusionRate, RateBound
from compression_gap.pipeline.jobs.distortion import (
    ChunkNoise,
    CodeDistortion,
    NoiseDistortion,
    NoisyReplay,
    OpenLoop,
)
from compression_gap.pipeline.jobs.encoder import Features, PoseError, TrainedEncoder
from compression_gap.pipeline.jobs.judging import Evaluation, Replay, Videos
from compression_gap.pipeline.jobs.quality import EncoderQuality
from compression_gap.pipeline.jobs.recording import LiberoHdf5, RecordedDemonstrations, Recording
from compression_gap.pipeline.jobs.tokenizer import TokenBits, TrainedTokenizer
from compression_gap.pipeline.jobs.tokenizer_audit import AuditTokenizer, CodeAudit
from compression_gap.pipeline.jobs.tokenizer_quality import Modelability, TokenizerQuality

__all__ = [
    "EPISODES",
    "SUMMARY",
    "ActionDenoisers",
    "ActionLedger",
    "ArmBits",
    "AuditDenoisers",
    "AuditHead",
    "AuditTokenizer",
    "CertifiedBits",
    "ChunkNoise",
    "CodeAudit",
    "CodeDistortion",
    "DatasetRate",
    "Demonstrations",
    "DiffusionRate",
    "Drawings",
    "EncoderQuality",
    "Evaluation",
    "Features",
    "FileDataset",
    "FittedTokenizer",
    "GripperBits",
    "LiberoHdf5",
    "Modelability",
    "NoiseDistortion",
    "NoisyReplay",
    "OpenLoop",
    "PoseError",
    "RateBound",
    "RecordedDemonstrations",
    "Recording",
    "Replay",
    "SuiteDataset",
    "TokenBits",
    "TokenizerQuality",
    "TrainedAgent",
    "TrainedEncoder",
    "TrainedTokenizer",
    "Videos",
    "WrittenCodes",
]
