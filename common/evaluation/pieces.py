"""Scores of whole pieces as rows, {"id", "title", "unseen", and a value for each score}, and what they come to."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.evaluation.bootstrap import bootstrap_interval
from common.pieces import Piece


def identity(piece: Piece) -> dict[str, Any]:
    """The beginning of a row."""
    return {"id": piece.id, "title": piece.title, "unseen": piece.unseen}


def kinds(rows: list[dict]) -> dict[str, list[dict]]:
    """All rows of pieces, and those of each kind of piece that there is."""
    composed = [row["id"].startswith("composed") for row in rows]
    groups = {
        "all": rows,
        "composed": [row for row, ours in zip(rows, composed, strict=True) if ours],
        "real works": [row for row, ours in zip(rows, composed, strict=True) if not ours],
        "unseen instruments": [row for row in rows if row["unseen"]],
    }
    return {kind: chosen for kind, chosen in groups.items() if chosen}


def interval(rows: list[dict], name: str) -> list[float]:
    """Mean of a score and the ends of its 95 % bootstrap interval over the pieces that have it; [] if none has."""
    values = [row[name] for row in rows if row.get(name) is not None and np.isfinite(row[name])]
    return [round(value, 4) for value in bootstrap_interval(values)] if values else []


def summary(rows: list[dict], names: Sequence[str]) -> dict[str, dict]:
    """`interval` of these scores, for all pieces and for each kind of piece; scores that no piece has are left out."""
    return {
        kind: {"pieces": len(chosen)} | {name: found for name in names if (found := interval(chosen, name))}
        for kind, chosen in kinds(rows).items()
    }
