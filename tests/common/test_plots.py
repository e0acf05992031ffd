import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from common.notes import Notes
from common.plots import FOUND, GHOST, MAX_WIDTH, directions, learning_curve, piano_roll, presence, timeline

TRUTH = Notes.build(
    onset=[0.0, 1.0, 2.0, 3.0, 0.5],
    offset=[1.0, 2.0, 3.0, 4.0, 0.6],
    pitch=[60, 62, 64, 65, 38],
    is_drum=[False, False, False, False, True],
)
HEARD = Notes.build(
    # 40 ms late, 60 ms late, an octave too high, right but far too short, never played, a drum.
    onset=[0.04, 1.06, 2.0, 3.0, 3.5, 0.5],
    offset=[1.0, 2.0, 3.0, 3.1, 4.5, 0.6],
    pitch=[60, 62, 76, 65, 48, 38],
    is_drum=[False, False, False, False, False, True],
)


def bars(figure: Figure) -> dict[str, np.ndarray]:
    """(bar, 4): left, right, bottom and top of what has a label."""
    boxes = {}
    for collection in figure.axes[0].collections:
        if not collection.get_label().startswith("_"):
            corners = np.array([path.vertices for path in collection.get_paths()]).reshape(-1, 5, 2)
            boxes[collection.get_label()] = np.stack(
                [corners[..., 0].min(1), corners[..., 0].max(1), corners[..., 1].min(1), corners[..., 1].max(1)], axis=1
            )
    return boxes


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def test_a_roll_tells_what_was_found_missed_and_made_up():
    boxes = bars(piano_roll(HEARD, TRUTH))
    assert {label: len(box) for label, box in boxes.items()} == {
        "truth": 2,
        "found (2)": 2,
        "missed (2)": 2,
        "ghost (3)": 3,
    }
    np.testing.assert_allclose(boxes["found (2)"][:, :2], [[0.04, 1.0], [3.0, 3.1]])
    np.testing.assert_allclose(boxes["truth"][:, :2], [[0.0, 1.0], [3.0, 4.0]])
    np.testing.assert_allclose(boxes["missed (2)"][:, :2], [[1.0, 2.0], [2.0, 3.0]])
    np.testing.assert_allclose(boxes["ghost (3)"][:, 2:].mean(axis=1), [62, 76, 48])


def test_found_notes_are_blue_and_ghosts_orange_and_the_legend_says_so():
    figure = piano_roll(HEARD, TRUTH)
    colours = {text.get_text(): patch for text, patch in zip(*legend(figure), strict=True)}
    assert to_hex(colours["found (2)"].get_facecolor()) == FOUND
    assert to_hex(colours["ghost (3)"].get_facecolor()) == GHOST
    assert to_hex(colours["missed (2)"].get_facecolor()) == "#ffffff"


def legend(figure: Figure):
    (box,) = figure.legends
    return box.get_texts(), box.get_patches()


def test_perfect_and_silent_transcriptions():
    assert [len(box) for box in bars(piano_roll(TRUTH, TRUTH)).values()] == [4, 4, 0, 0]
    assert [len(box) for box in bars(piano_roll(Notes.empty(), TRUTH)).values()] == [0, 0, 4, 0]
    assert [len(box) for box in bars(piano_roll(HEARD, Notes.empty())).values()] == [0, 0, 0, 5]


def test_tracks_have_colours_and_names():
    notes = Notes.build([0, 1, 2], [1, 2, 3], [60, 61, 40], program=[0, 0, 32], track=[0, 0, 3])
    figure = piano_roll(notes)
    texts, patches = legend(figure)
    assert [text.get_text() for text in texts] == ["1 Acoustic Grand Piano", "4 Acoustic Bass"]
    assert len({to_hex(patch.get_facecolor()) for patch in patches}) == 2
    assert [len(box) for box in bars(figure).values()] == [2, 1]


def test_an_instrument_has_one_colour_in_all_pictures():
    """Also where another one, or all but one, has nothing to play."""
    names = {0: "Piano", 32: "Bass", 100: "Singing"}
    played = Notes.build([0, 1, 2, 2], [1, 2, 3, 3], [60, 61, 40, 36], program=[0, 32, 100, 0], is_drum=[0, 0, 0, 1])
    truth, found = (piano_roll(notes, instruments=names) for notes in (played, played[[1]].replace(track=3)))
    assert {name: len(box) for name, box in bars(truth).items()} == {"Piano": 1, "Bass": 1, "Singing": 1}
    assert list(bars(found)) == ["Bass"]
    colours = [
        {text.get_text(): to_hex(patch.get_facecolor()) for text, patch in zip(*legend(figure), strict=True)}
        for figure in (truth, found)
    ]
    assert len(set(colours[0].values())) == 3
    assert colours[1] == {"Bass": colours[0]["Bass"]}


def test_one_track_is_coloured_by_confidence():
    notes = Notes.build([0, 1, 2], [1, 2, 3], [60, 61, 62], confidence=[0.25, 0.5, 1.0])
    figure = piano_roll(notes)
    bars = figure.axes[0].collections[-1]
    np.testing.assert_array_equal(bars.get_array(), notes.confidence)
    assert bars.get_clim() == (0, 1)
    assert figure.axes[1].get_ylabel() == "confidence"


def test_axes_are_named_as_musicians_name_them():
    axes = piano_roll(Notes.build([0, 0], [10, 10], [36, 84]), seconds=20.0).axes[0]
    assert axes.get_xlim() == (0, 20)
    ticks = dict(zip(axes.get_yticks().tolist(), [text.get_text() for text in axes.get_yticklabels()], strict=True))
    assert ticks == {36: "C2", 48: "C3", 60: "C4", 72: "C5", 84: "C6"}


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (100.0, "0 20 40 60 80 100"),
        (700.0, "0 1 2 3 4 5 6 7 8 9 10 11"),
        (3600.0, "0 4 8 12 16 20 24 28 32 36 40 44 48 52 56 60"),
    ],
)
def test_long_pieces_count_minutes(seconds, labels):
    axes = piano_roll(TRUTH, seconds=seconds).axes[0]
    axes.figure.draw_without_rendering()
    inside = [tick.label1.get_text() for tick in axes.xaxis.get_major_ticks() if 0 <= tick.get_loc() <= seconds]
    assert inside == labels.split()


def test_an_hour_has_a_bounded_picture_and_no_artist_for_each_note():
    rng = np.random.default_rng(0)
    onset = np.sort(rng.uniform(0, 3600, 20_000))
    notes = Notes.build(onset, onset + 0.2, rng.integers(21, 109, len(onset)))
    long, short = piano_roll(notes, notes), piano_roll(notes[:5], notes[:5])
    assert long.get_figwidth() == MAX_WIDTH
    assert len(long.axes[0].get_children()) == len(short.axes[0].get_children())
    assert sum(len(box) for box in bars(long).values()) == 40_000


def test_a_title_is_text_and_no_formula():
    figure = piano_roll(TRUTH, title=r"$5 \for {a song$")
    assert png(figure).startswith(b"\x89PNG")
    assert figure.axes[0].get_title(loc="left") == r"$5 \for {a song$"


def test_nothing_to_show_is_a_picture_too():
    drums = TRUTH[TRUTH.is_drum]
    for figure in (
        piano_roll(Notes.empty()),
        piano_roll(drums),
        piano_roll(drums, Notes.empty()),
        learning_curve([], {"F": ["f"]}),
    ):
        assert png(figure).startswith(b"\x89PNG")


def test_drawing_leaves_no_state_behind():
    before = dict(mpl.rcParams)
    png(piano_roll(HEARD, TRUTH))
    png(learning_curve([{"step": "1", "loss": "2"}], {"loss": ["loss"]}))
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []


ROWS = [
    {"step": "4", "train/loss": "20.5", "val/f": ""},
    {"step": "9", "train/loss": "", "val/f": "0.5"},
    {"step": "9", "train/loss": "1.5", "val/f": ""},
    {"step": "14", "val/f": "0.75"},
]


def test_a_learning_curve_shows_what_was_logged():
    figure = learning_curve(ROWS, {"loss": ["train/loss", "val/loss"], "F": ["val/f"]})
    (loss,), (f,) = (axes.lines for axes in figure.axes)
    np.testing.assert_array_equal(loss.get_xydata(), [[4, 20.5], [9, 1.5]])
    np.testing.assert_array_equal(f.get_xydata(), [[9, 0.5], [14, 0.75]])
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "F"]
    assert [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes] == [
        ["train/loss"],
        ["val/f"],
    ]


def test_a_loss_that_falls_far_gets_a_logarithmic_axis():
    scales = [axes.get_yscale() for axes in learning_curve(ROWS, {"loss": ["train/loss"], "F": ["val/f"]}).axes]
    assert scales == ["log", "linear"]


def test_directions_are_points_in_the_plane_where_they_differ_most():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(40, 2)) * [10.0, 5.0]
    vectors = plane @ np.linalg.qr(rng.normal(size=(6, 2)))[0].T + 3.0
    groups = np.arange(40) % 3
    figure = directions({"here": (vectors, groups), "there": (vectors[:1], groups[:1])}, ["a", "b", "c"])
    drawn = [collection.get_offsets() for collection in figure.axes[0].collections]
    assert [len(points) for points in drawn] == [14, 13, 13]
    points = np.concatenate(drawn)
    order = np.argsort(groups, kind="stable")
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    assert distance == pytest.approx(np.linalg.norm(plane[order][:, None] - plane[order], axis=2), abs=1e-6)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


@pytest.mark.parametrize("shape", [(0, 12), (0, 1), (1, 12), (2, 12), (3, 1)])
def test_few_directions_are_a_picture_too(shape):
    vectors = np.random.default_rng(0).normal(size=shape)
    figure = directions({"few": (vectors, np.zeros(len(vectors), int))}, ["a"])
    assert [len(collection.get_offsets()) for collection in figure.axes[0].collections] == [len(vectors)]


EDGES, LEADERS = np.array([0.0, 2.0, 3.0, 7.0, 8.0]), np.array([1, -1, 0, 1])


def spans(axes) -> list[tuple[float, float, float]]:
    """Start, end and row of every bar."""
    boxes = [path.get_extents() for bars in axes.collections for path in bars.get_paths() if len(path.vertices) == 5]
    return sorted((round(box.x0, 6), round(box.x1, 6), round((box.y0 + box.y1) / 2, 6)) for box in boxes)


def test_a_timeline_shows_who_leads_and_how_surely():
    confidence = np.array([0.9, 0.5, 0.8, 0.7])
    figure = timeline(np.ones((2, 80)), ["lead $vox", "bass"], EDGES, LEADERS, confidence, title="a $song$")
    above, below = figure.axes
    assert spans(above) == [(0.0, 2.0, 1.0), (3.0, 7.0, 0.0), (7.0, 8.0, 1.0)]
    assert [text.get_text() for text in above.get_yticklabels()] == ["lead $vox", "bass"]
    values, edges, _ = below.patches[0].get_data()
    np.testing.assert_array_equal(values, confidence)
    np.testing.assert_array_equal(edges, EDGES)
    assert (below.get_ylabel(), below.get_xlim()) == ("confidence", (0.0, 8.0))
    assert png(figure).startswith(b"\x89PNG")


def test_a_waveform_is_coloured_where_its_track_leads():
    figure = timeline(np.ones((2, 80)), ["a", "b"], EDGES, LEADERS, np.ones(4))
    # For each track its whole waveform, the part that leads, and the bars behind.
    waves = [collection for collection in figure.axes[0].collections if len(collection.get_paths()[0].vertices) > 5]
    assert len(waves) == 4
    for i, wave in enumerate(waves[1::2]):
        vertices = wave.get_paths()[0].vertices
        leads = np.abs(vertices[:, 1] - i) > 0.4
        inside = (i == LEADERS)[np.searchsorted(EDGES[1:-1], vertices[leads, 0] - 1e-6)]
        assert inside.mean() > 0.9
        assert leads.mean() == pytest.approx(((4.0 if i == 0 else 3.0) / 8.0), abs=0.1)


def test_the_truth_has_a_row_of_its_own():
    truth = (np.array([0.0, 4.0, 8.0]), np.array([-1, 1]))
    figure = timeline(np.ones((2, 80)), ["a", "b"], EDGES, LEADERS, np.ones(4), truth=truth)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a", "b", "truth"]
    assert [span[:2] for span in spans(figure.axes[0]) if span[2] == 2.0] == [(4.0, 8.0)]


def test_long_songs_of_many_tracks_and_silent_ones_are_pictures_too():
    long = timeline(np.random.default_rng(0).random((40, 90_000)), ["x"] * 40, EDGES * 450, LEADERS, np.ones(4))
    assert max(long.get_size_inches()) <= MAX_WIDTH
    assert max(len(path.vertices) for drawn in long.axes[0].collections for path in drawn.get_paths()) < 20_000
    silent = timeline(np.zeros((2, 1)), ["a", "b"], np.array([0.0, 0.01]), np.array([-1]), np.ones(1))
    for figure in (long, silent):
        assert png(figure).startswith(b"\x89PNG")


def test_presence_shows_each_class_over_time_and_a_line_along_the_most_probable():
    probabilities = np.array([[0.9, 0.2, 0.0], [0.1, 0.7, 0.0]])
    edges = np.array([0.0, 1.0, 2.5, 4.0])
    figure = presence(np.zeros((4, 200)), np.array([100.0, 500, 2000, 4000]), probabilities, edges, ["$a", "b"], "$t$")
    above, below = figure.axes[:2]
    assert above.get_xlim() == below.get_xlim() == (0.0, 4.0)
    assert above.images[0].get_extent() == [0.0, 4.0, -0.5, 3.5]
    assert [text.get_text() for text in below.get_yticklabels()] == ["$a", "b"]
    assert dict(zip([text.get_text() for text in above.get_yticklabels()], above.get_yticks(), strict=True))["500"] == 1
    np.testing.assert_array_equal(below.collections[0].get_array(), probabilities)
    values, drawn, _ = below.patches[-1].get_data()
    np.testing.assert_array_equal(values, [0, 1, np.nan])
    np.testing.assert_array_equal(drawn, edges)
    assert png(figure).startswith(b"\x89PNG")


def test_presence_of_a_long_recording_and_of_a_moment_are_pictures_too():
    hz = np.linspace(60, 7900, 128)
    long = presence(np.random.default_rng(0).random((128, 4000)), hz, np.ones((11, 900)), np.arange(901), "x" * 11)
    assert max(long.get_size_inches()) <= MAX_WIDTH
    short = presence(np.full((128, 1), -11.5), hz, np.zeros((11, 1)), np.array([0.0, 1e-4]), "x" * 11)
    assert png(short).startswith(b"\x89PNG")
