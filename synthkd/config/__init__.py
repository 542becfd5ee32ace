"""The pipeline file as pydantic models. YAML names things and sets values; it never runs anything.

    config/settings.py   what every block has in common
    config/teacher.py    the block of one teacher
    config/vllm.py       the block of a vLLM server that the run starts
    config/local.py      the block of a student that answers in this process
    config/student.py    the block of the student, by kind
    config/pipeline.py   all the others

`synthkd.pipeline_file` reads a file into these. What is inside a step's `with` belongs to that
step's own model and is checked by `synthkd.plan`.
"""

from __future__ import annotations

from synthkd.config.local import LocalConfig, SamplingConfig
from synthkd.config.pipeline import (
    COLUMNS_OF_FORMAT,
    BudgetConfig,
    EvaluateConfig,
    ExportConfig,
    ForgettingConfig,
    HarnessConfig,
    HoldoutConfig,
    LedgerConfig,
    LimitsConfig,
    ParaphrasesConfig,
    PipelineConfig,
    RoundsConfig,
    SourceConfig,
    StepConfig,
)
from synthkd.config.settings import Count, InFlight, Name, Samples, Seed, Settings, Share, Teachers
from synthkd.config.student import (
    DpoConfig,
    EncoderConfig,
    HackingConfig,
    HostedConfig,
    HostedLimits,
    LearnerConfig,
    LinearConfig,
    LoraConfig,
    NetworkConfig,
    ScratchConfig,
    Seq2SeqConfig,
    SftConfig,
    StudentConfig,
    TaskConfig,
)
from synthkd.config.teacher import (
    BatchConfig,
    PoolConfig,
    Price,
    RecordedConfig,
    SimulatedConfig,
    TeacherConfig,
)
from synthkd.config.vllm import VllmConfig

__all__ = [
    "COLUMNS_OF_FORMAT",
    "BatchConfig",
    "BudgetConfig",
    "Count",
    "DpoConfig",
    "EncoderConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ForgettingConfig",
    "HackingConfig",
    "HarnessConfig",
    "HoldoutConfig",
    "HostedConfig",
    "HostedLimits",
    "InFlight",
    "LearnerConfig",
    "LedgerConfig",
    "LimitsConfig",
    "LinearConfig",
    "LocalConfig",
    "LoraConfig",
    "Name",
    "NetworkConfig",
    "ParaphrasesConfig",
    "PipelineConfig",
    "PoolConfig",
    "Price",
    "RecordedConfig",
    "RoundsConfig",
    "Samples",
    "SamplingConfig",
    "ScratchConfig",
    "Seed",
    "Seq2SeqConfig",
    "Settings",
    "SftConfig",
    "Share",
    "SimulatedConfig",
    "SourceConfig",
    "StepConfig",
    "StudentConfig",
    "TaskConfig",
    "TeacherConfig",
    "Teachers",
    "VllmConfig",
]
