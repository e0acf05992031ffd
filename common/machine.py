"""What training finds on the machine it runs on, without asking Lightning or W&B: importing those takes ten seconds."""

import os
from pathlib import Path
from urllib.parse import urlparse

import torch


def has_bf16(accelerator: str) -> bool:
    """Whether the device that training will use computes in bfloat16 rather than emulating it.

    Args:
        accelerator: as Lightning's trainer takes it, "auto" for a GPU if there is one.
    """
    if accelerator != "cpu" and torch.accelerator.is_available():
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit) for unit in ("avx512_bf16", "amx_bf16", "bf16"))  # the last one is ARM's


def wandb_mode() -> str:
    """What WANDB_MODE says; otherwise online for a user who is logged in, and offline for all others.

    W&B decides at its first call and cannot be told later.
    """
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    logged_in = os.environ.get("WANDB_API_KEY") or (path.is_file() and host in path.read_text().split())
    return "online" if logged_in else "offline"
