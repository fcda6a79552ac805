"""The lake: where the tables of every night lie, and how they get there."""

from tasks.lake.errors import (
    BadName,
    ClockBehind,
    FileMissing,
    LakeDamaged,
    LakeFull,
    LakeMissing,
    LakeReadOnly,
    LakeRefused,
    LakeTooNew,
    LakeUnreachable,
    NightLocked,
    SchemaChanged,
)
from tasks.lake.lake import Lake
from tasks.lake.stage import Partition, Stage

__all__ = [
    "BadName",
    "ClockBehind",
    "FileMissing",
    "Lake",
    "LakeDamaged",
    "LakeFull",
    "LakeMissing",
    "LakeReadOnly",
    "LakeRefused",
    "LakeTooNew",
    "LakeUnreachable",
    "NightLocked",
    "Partition",
    "SchemaChanged",
    "Stage",
]
