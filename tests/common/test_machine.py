import pytest
import torch

from common import machine


@pytest.mark.parametrize(
    ("environment", "netrc", "mode"),
    [
        ({}, "", "offline"),
        ({}, "machine github.com login me password secret", "offline"),
        ({}, "machine api.wandb.ai login user password secret", "online"),
        ({"WANDB_BASE_URL": "https://wandb.example.org"}, "machine api.wandb.ai login user password x", "offline"),
        ({"WANDB_API_KEY": "secret"}, "", "online"),
        ({"WANDB_API_KEY": "secret", "WANDB_MODE": "offline"}, "", "offline"),
        ({"WANDB_MODE": "disabled"}, "machine api.wandb.ai login user password secret", "disabled"),
    ],
)
def test_wandb_is_offline_unless_the_user_is_logged_in(tmp_path, monkeypatch, environment, netrc, mode):
    (tmp_path / ".netrc").write_text(netrc)
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert machine.wandb_mode() == mode


@pytest.mark.parametrize(
    ("units", "gpu", "accelerator", "has"),
    [
        ({}, False, "auto", False),
        ({"avx512_f": True, "avx512_bf16": False}, False, "auto", False),
        ({"avx512_bf16": True}, False, "auto", True),
        ({"amx_bf16": True}, False, "cpu", True),
        ({"bf16": True}, False, "cpu", True),
        ({}, True, "auto", True),
        ({}, True, "gpu", True),
        ({}, True, "cpu", False),  # what is not used does not count
    ],
)
def test_bfloat16_is_that_of_the_device_in_use(monkeypatch, units, gpu, accelerator, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu)
    assert machine.has_bf16(accelerator) is has
