import io
from statistics import mean, stdev

import numpy as np
import pytest
from matplotlib import colors

from diffusion_pir.fits import COLUMNS, FitsError, choose, over_seeds, read_rows, write_rows
from diffusion_pir.report import figures, noise_curve

CLASSES = {"cel": 3, "voi": 40, "pia": 12}  # and how many test excerpts have them
SIGMAS = {0.0: 43.8, 0.1: 15.3, 0.5: -0.1, 0.9: -16.2}  # and their ratio in dB


def fit(role, model, sigma, layer, head, seed, micro, **changed):
    row = dict.fromkeys(COLUMNS)
    row |= {"role": role, "model": model, "layer": layer, "head": head, "seed": seed, "micro": micro, "params": 132619}
    row |= {
        "train_set": "irmas",
        "test_set": "irmas",
        "agg": "S2",
        "loss": "bce",
        "draws": 1,
        "mixes": 0,
        "val_micro": micro - 0.01,
        "sigma": sigma,
    }
    row |= {"noise": "" if sigma is None else f"{sigma:g}", "log_snr_db": SIGMAS.get(sigma)}
    row |= {f"n_{name}": count for name, count in CLASSES.items()}
    return row | {f"f1_{name}": micro + 0.01 * i for i, name in enumerate(CLASSES)} | changed


def sweep(train_set="irmas"):
    """A model that likes sigma 0.1 and bottleneck_2, its control, mel statistics without layer, and a constant."""
    rows = []
    for sigma in SIGMAS:
        for seed in range(3):
            for layer, gain in (("down", 0.0), ("bottleneck_2", 0.1)):
                for head in ("mlp", "cnn"):
                    score = 0.6 - abs(sigma - 0.1) / 2 + gain + 0.01 * seed
                    rows.append(fit("model", "small", sigma, layer, head, seed, score))
                    rows.append(fit("control", "random", sigma, layer, head, seed, score - 0.2))
            rows.append(fit("control", "mel", sigma, "", "mlp", seed, 0.3))
    rows.append(fit("floor", "constant", None, "", "", 0, 0.44))
    return [row | {"train_set": train_set} for row in rows]


def test_rows_survive_the_file(tmp_path):
    rows = sweep()
    write_rows(tmp_path / "fits.csv", rows)
    assert read_rows(tmp_path / "fits.csv") == rows
    assert (tmp_path / "fits.csv").read_text().splitlines()[0].startswith(",".join(COLUMNS))


def test_settings_that_differ_are_neither_averaged_nor_drawn_over_each_other():
    """Four draws are better on validation: the figures show those."""
    rows = [row for row in sweep() if row["role"] == "model"]
    more = [row | {"draws": 4, "micro": row["micro"] + 0.1, "val_micro": row["val_micro"] + 0.1} for row in rows]
    assert len(over_seeds(rows + more, "micro")) == 2 * len(over_seeds(rows, "micro"))
    drawn = curves(figures(rows + more)["noise"].axes[0])
    np.testing.assert_allclose(drawn["small"][1], [0.76, 0.81, 0.61, 0.41])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no rows"), ("role,model\na,b\n", "no column"), (",".join(COLUMNS) + "\n", "no rows"), (None, "read")],
)
def test_what_is_no_table_is_named_with_the_remedy(tmp_path, text, reason):
    path = tmp_path / "fits.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FitsError, match=rf"fits\.csv.*{reason}.*sweep"):
        read_rows(path)


def test_a_number_that_is_none_is_told(tmp_path):
    write_rows(tmp_path / "fits.csv", [fit("model", "small", 0.1, "down", "mlp", 0, 0.5) | {"micro": "high"}])
    with pytest.raises(FitsError, match="high"):
        read_rows(tmp_path / "fits.csv")


def test_seeds_are_averaged_cell_by_cell():
    rows = [fit("model", "small", 0.1, "down", "mlp", seed, score) for seed, score in enumerate((0.5, 0.6, 0.8))]
    cells = over_seeds([*rows, fit("floor", "constant", None, "", "", 0, 0.44)], "micro")
    model, constant = cells.values()
    assert model.mean == pytest.approx(mean((0.5, 0.6, 0.8)))
    assert model.deviation == pytest.approx(stdev((0.5, 0.6, 0.8)))
    assert (constant.mean, constant.deviation) == (0.44, 0.0)


def test_validation_chooses_and_the_test_set_does_not():
    lucky = [fit("model", "small", 0.9, "down", "mlp", seed, 0.99, val_micro=0.1) for seed in range(3)]
    best = choose([*sweep(), *lucky])
    assert (best["sigma"], best["layer"]) == (0.1, "bottleneck_2")
    with pytest.raises(FitsError, match="sweep a model"):
        choose([row for row in sweep() if row["role"] != "model"])


def curves(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.array(line.get_data()) for line in axes.lines if not line.get_label().startswith("_")}


def test_the_noise_curve_has_means_spread_floors_and_decibels():
    rows = [row for row in sweep() if row["layer"] in ("bottleneck_2", "") and row["head"] in ("mlp", "")]
    (axes,) = noise_curve(rows).axes
    drawn = curves(axes)
    assert set(drawn) == {"small", "random", "mel", "constant"}
    np.testing.assert_allclose(drawn["small"], [[*SIGMAS], [0.66, 0.71, 0.51, 0.31]])
    np.testing.assert_allclose(drawn["constant"][1], 0.44)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.71 + 0.01)  # one deviation of 0.00, 0.01, 0.02
    dashed = {line.get_label() for line in axes.lines if line.get_linestyle() != "-"}
    assert dashed >= {"random", "mel", "constant"}
    assert "small" not in dashed
    (above,) = axes.child_axes
    assert [text.get_text() for text in above.get_xticklabels()] == ["44", "15", "0", "-16"]


def test_every_figure_is_drawn_from_the_file_alone(tmp_path):
    write_rows(tmp_path / "fits.csv", sweep() + sweep("irmas+openpir"))
    drawn = figures(read_rows(tmp_path / "fits.csv"))
    assert set(drawn) == {"noise", "layers", "heads", "classes", "heatmap"}
    for figure in drawn.values():
        figure.savefig(io.BytesIO())
    assert [axes.get_title(loc="left") for axes in drawn["noise"].axes] == ["irmas", "irmas+openpir"]
    heads = [text.get_text() for text in drawn["heads"].axes[0].get_xticklabels()]
    assert heads == ["mlp\n132,619", "cnn\n132,619"]
    ticks = [text.get_text() for text in drawn["classes"].axes[0].get_xticklabels()]
    assert ticks == ["voi\n40", "pia\n12", "cel\n3"]
    panel, _, *_ = drawn["heatmap"].axes
    values = panel.images[0].get_array()
    assert values.shape == (2, 4)
    assert np.unravel_index(values.argmax(), values.shape) == (1, 1)  # bottleneck_2, sigma 0.1


def test_bars_of_layers_stand_where_their_names_are():
    axes = figures(sweep())["layers"].axes[0]
    heights = {
        bar.get_label(): [patch.get_height() for patch in bar] for bar in axes.containers if hasattr(bar, "patches")
    }
    assert [text.get_text() for text in axes.get_xticklabels()] == ["down", "bottleneck_2"]
    np.testing.assert_allclose(heights["small"], [0.61, 0.71])
    np.testing.assert_allclose(heights["random"], [0.41, 0.51])
    assert set(curves(axes)) >= {"mel", "constant"}


def test_a_model_has_the_same_colour_in_every_figure():
    drawn = figures(sweep())
    curve = {line.get_label(): colors.to_hex(line.get_color()) for line in drawn["noise"].axes[0].lines}
    for name in ("layers", "heads", "classes"):
        for bar in drawn[name].axes[0].containers:
            if hasattr(bar, "patches"):
                assert colors.to_hex(bar.patches[0].get_facecolor()) == curve[bar.get_label()]
