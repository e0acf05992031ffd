import os
import signal

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import avg_pool2d

from common.instruments import IRMAS, IRMAS_NAMES
from common.melspec import VocoderMel
from diffusion_pir import generate as module
from diffusion_pir.commands import generate_command
from diffusion_pir.diffusion import N_TIMESTEPS, add_noise, ddim, stratified_timesteps, velocity
from diffusion_pir.generate import (
    Continuation,
    PromptError,
    draw_noise,
    generate,
    n_windows,
    open_denoiser,
    parse_prompt,
)
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import PromptTable
from tests.diffusion_pir.patterns import UNET
from tests.diffusion_pir.planted import write_backbone

CLASSES = tuple(IRMAS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def denoiser(weights):
    return open_denoiser(weights)[0]


def labels(*names: str) -> np.ndarray:
    return np.isin(CLASSES, names)


def command(weights, *args) -> int:
    return generate_command(
        [
            *map(str, args),
            "--model",
            str(weights),
            "--steps",
            "2",
            "--vocoder",
            "tests.diffusion_pir.test_generate:hiss",
        ]
    )


def hiss():
    """A vocoder that says as much as the first bin is loud."""
    return lambda log_mel: torch.sigmoid(log_mel[:, 0]).repeat_interleave(320, dim=1)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("saxophone, piano", ("sax", "pia")),
        (" Electric   GUITAR ,cel,", ("gel", "cel")),
        ("voice, voi, voice", ("voi",)),
    ],
)
def test_prompts_are_names_in_words_or_codes(prompt, expected):
    assert tuple(CLASSES[i] for i in parse_prompt(prompt, CLASSES)) == expected


def test_own_classes_are_named_as_they_are():
    assert parse_prompt("harp, Gong", ("Gong", "harp")) == (1, 0)


@pytest.mark.parametrize("prompt", ["banjo", "piano, banjo", "", " , "])
def test_what_is_not_known_is_told_with_what_is(prompt):
    with pytest.raises(PromptError) as error:
        parse_prompt(prompt, CLASSES)
    assert all(name in str(error.value) for name in IRMAS_NAMES.values())
    assert ("'banjo'" in str(error.value)) == ("banjo" in prompt)


def test_a_sound_is_what_the_sampler_makes_of_its_noise(denoiser):
    made = generate(denoiser, labels("sax"), range(2), 80, steps=3, seed=4)
    noise = draw_noise(4, range(2), 0, 128)
    told = torch.from_numpy(labels("sax")).expand(2, -1)
    expected = denoiser.unstandardise(ddim(denoiser, noise, 3, 3.0, told))
    torch.testing.assert_close(made, expected[..., :80])


def test_a_sound_depends_on_its_number_and_not_on_the_others(denoiser):
    together = generate(denoiser, labels("vio"), range(3), 100, steps=2)
    alone = generate(denoiser, labels("vio"), [2], 100, steps=2)
    torch.testing.assert_close(together[2:], alone, atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1.0


def test_longer_sounds_go_on_from_what_is_there(denoiser):
    short, long = (generate(denoiser, labels("pia"), [0], n_frames, steps=3) for n_frames in (100, 230))
    assert long.shape == (1, 128, 230)
    torch.testing.assert_close(long[..., :100], short, atol=1e-4, rtol=1e-4)
    steps = []
    generate(denoiser, labels("pia"), [0], 230, steps=3, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)] * n_windows(230)


@pytest.mark.parametrize(("n_frames", "n"), [(1, 1), (100, 1), (101, 2), (150, 2), (151, 3), (500, 9)])
def test_windows_overlap_by_half(n_frames, n):
    assert n_windows(n_frames) == n
    assert 50 * n + 50 >= n_frames


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_a_continuation_begins_with_what_is_known_and_its_rest_hears_it(denoiser, guidance):
    generator = torch.Generator().manual_seed(0)
    known, noise = torch.randn(2, 2, 128, 100, generator=generator)
    told = torch.from_numpy(labels("sax")).expand(2, -1)
    asked = Continuation(denoiser, known[..., :60], noise[..., :60])
    x = ddim(asked, noise, 4, guidance, told)
    torch.testing.assert_close(x[..., :60], known[..., :60], atol=2e-3, rtol=0)
    other = Continuation(denoiser, -known[..., :60], noise[..., :60])
    assert (ddim(other, noise, 4, guidance, told)[..., 60:] - x[..., 60:]).abs().max() > 1e-3


def test_a_continuation_hears_the_beginning_at_the_level_of_noise(denoiser):
    heard = []

    class Spy:
        def knows(self, labels):
            return denoiser.knows(labels)

        def prompt(self, labels, dropped=None):
            return denoiser.prompt(labels, dropped)

        def __call__(self, x, t, prompt=None):
            heard.append((int(t[0]), x))
            return torch.zeros_like(x)

    known, noise = torch.ones(1, 128, 40), torch.zeros(1, 128, 100)
    ddim(Continuation(Spy(), known, noise[..., :40]), noise, 5, 0.0)
    for t, x in heard:
        share = np.cos(np.pi / 2 * ((t + 1) / N_TIMESTEPS + 0.008) / 1.008)  # of the cosine schedule
        assert float(x[0, 0, 0]) == pytest.approx(share, abs=1e-2)


TIMBRES = (  # level of harmonic k
    lambda k: 1 / k,
    lambda k: (k % 2) / k,
    lambda k: 1 / k**3,
    lambda k: np.exp(-(((k - 5) / 3) ** 2)),
    lambda k: (k > 6) / k,
    lambda k: np.isin(k, (1, 2, 4, 8)).astype(float),
)


def timbres(n_clips: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mels (clip, bin, frame) of half a second, 16 bins by 8 frames, of the timbres in turn, and these (clip,)."""
    rng = np.random.default_rng(seed)
    time, k = np.arange(8000) / 16_000, np.arange(1, 17)
    audio = []
    for i in range(n_clips):
        hz = rng.uniform(150, 400)
        tones = np.sin(2 * np.pi * np.outer(k * hz, time) + rng.uniform(0, 6, (16, 1)))
        tone = (TIMBRES[i % 6](k) * (k * hz < 7800)) @ tones
        audio.append(tone / np.abs(tone).max() + 0.01 * rng.standard_normal(len(time)))
    log_mel = VocoderMel()(torch.tensor(np.stack(audio), dtype=torch.float32))
    return avg_pool2d(log_mel[:, None, :, :24], (8, 3))[:, 0], torch.arange(n_clips) % 6


def test_what_is_made_for_a_class_is_heard_as_it_by_who_knows_only_real_clips():
    """Check 16: at least 0.35 of six classes; the judge is a logistic regression on log-mels."""
    real, told = timbres(480, seed=0)
    judge = LogisticRegression(max_iter=500).fit(real.flatten(1), told)
    assert judge.score(*(part.flatten(1) if part.ndim > 1 else part for part in timbres(120, seed=1))) > 0.95
    torch.manual_seed(0)
    scale = {"mean": float(real.mean()), "std": float(real.std())}
    net = Denoiser(UNET, PromptTable(6, 16), patch=2, n_bins=16, **scale)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(100):
        chosen, t = torch.randint(len(real), (16,)), stratified_timesteps(16)
        x, eps = net.standardise(real[chosen]), torch.randn(16, 16, 8)
        prompt = net.prompt(torch.eye(6)[told[chosen]], torch.rand(16) < 0.1)
        loss = (net(add_noise(x, eps, t), t, prompt) - velocity(x, eps, t)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    asked = torch.eye(6, dtype=torch.bool).repeat_interleave(16, 0)
    noise = torch.randn(96, 16, 8, generator=torch.Generator().manual_seed(0))
    made = net.eval().unstandardise(ddim(net, noise, 10, 3.0, asked))
    assert np.mean(judge.predict(made.flatten(1)) == asked.int().argmax(1).numpy()) >= 0.35


def test_the_command_writes_sounds_and_a_picture(weights, tmp_path, capsys):
    assert command(weights, "saxophone, electric guitar", "-n", 3, "--seconds", 0.5, "-o", tmp_path) == 0
    names = [f"saxophone-electric-guitar-{i}.wav" for i in (1, 2, 3)] + ["saxophone-electric-guitar.png"]
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for name in names[:3]:
        audio, rate = soundfile.read(tmp_path / name)
        assert (rate, len(audio)) == (16_000, 8_000)
        assert np.abs(audio).max() == pytest.approx(0.9, abs=1e-3)
    assert (tmp_path / names[3]).read_bytes().startswith(b"\x89PNG")
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.split()] == names


def test_the_same_seed_makes_the_same_sounds(weights, tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert command(weights, "cello", "-n", 1, "--seconds", 0.1, "--seed", seed, "-o", tmp_path / folder) == 0
    a, b, c = ((tmp_path / folder / "cello-1.wav").read_bytes() for folder in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["banjo"], "no instrument is called 'banjo' here; there are cello, clarinet"),
        (["cello", "--seconds", "0"], "--seconds 0"),
        (["cello", "--steps", "1001"], "1001 sampling steps"),
        (["cello", "--model", "nothing"], "nothing: there is no such model"),
        (["cello", "--vocoder", "none.onnx"], "none.onnx: there is no such vocoder"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, text, weights, tmp_path, capsys):
    assert generate_command(["--model", str(weights), *arguments, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert text in error[-1]
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing_half_written(weights, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return ddim(*args, **options)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(module, "ddim", interrupted)
    try:
        assert command(weights, "cello", "-o", tmp_path / "out") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "out").exists()
    assert "stopped" in capsys.readouterr().err
