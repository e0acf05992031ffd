"""One self-contained HTML page: pictures, sound and MIDI lie inside it, and it asks nothing of any network."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from matplotlib.figure import Figure

TEMPLATE = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Section:
    """The part of a sub-project: a heading in plain text, and HTML made of the functions below."""

    title: str
    html: str


def render(title: str, lead: str, sections: Sequence[Section], footer: str) -> str:
    """The page; title, lead and footer are plain text."""
    body = "\n".join(f"<section>\n<h2>{escape(part.title)}</h2>\n{part.html}\n</section>" for part in sections)
    return TEMPLATE.substitute(title=escape(title), lead=paragraph(lead), sections=body, footer=paragraph(footer))


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    return f"<p><code>{escape(text)}</code></p>"


def card(title: str, *parts: str) -> str:
    """A framed part with a heading; its sounds move the line over its piano roll."""
    return "\n".join(['<article class="card">', f"<h3>{escape(title)}</h3>", *parts, "</article>"])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells in plain text; the first of a row is its heading."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def picture(figure: Figure, alt: str) -> str:
    """A figure; over its first axes runs a line with the sound. On a narrow screen it scrolls within its frame."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    box = figure.axes[0].get_position()  # where saving has put it
    return (
        f'<div class="wide"><div class="picture" style="--from:{box.x0:.2%};--to:{box.x1:.2%}">'
        f'<img alt="{escape(alt)}" src="{_embed("image/png", buffer.getvalue())}"><span class="playhead"></span>'
        "</div></div>"
    )


def player(caption: str, path: Path) -> str:
    source = _embed("audio/mpeg", path.read_bytes())
    audio = f'<audio controls preload="metadata" src="{source}" aria-label="{escape(caption)}"></audio>'
    return f"<figure><figcaption>{escape(caption)}</figcaption>{audio}</figure>"


def side_by_side(*parts: str) -> str:
    """In columns where there is room for them."""
    return "\n".join(['<div class="columns">', *parts, "</div>"])


def download(text: str, path: Path) -> str:
    href = _embed("audio/midi", path.read_bytes())
    return f'<a class="download" download="{escape(path.name)}" href="{href}">{escape(text)}</a>'


def _embed(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"
