"""Show the worst queries of a ranking as one self-contained HTML page with inlined thumbnails."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

from evaluation.offline.report import PRIMARY
from visualsearch.domain.errors import InvalidInput
from visualsearch.imaging.preprocessing import thumbnail

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.offline.report import Report
    from evaluation.offline.sets import EvaluationSet
    from evaluation.offline.trec import Run

WORST = 50
SHOWN = 10
SIDE = 112
"""Longer side of a thumbnail, in pixels."""
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #1c1c1c; background: #fff }
section { display: flex; gap: 6px; align-items: start; border-top: 1px solid #ddd; padding: 10px 0; overflow-x: auto }
figure { margin: 0; width: 116px; flex: none } figure.query { width: 180px }
img { max-width: 112px; max-height: 112px; border: 2px solid #ccc; background: #fff }
figcaption { font-size: 11px; overflow-wrap: anywhere; color: #555 }
.relevant img { border-color: #1a7f37 } .wrong img { border-color: #cf222e } .query img { border-color: #0969da }
"""


def page(one: EvaluationSet, run: Run, report: Report, title: str, count: int = WORST) -> str:
    """Return the page: each of the worst queries with its best results, their scores and their grades."""
    shown = report.worst(count)
    sections = "\n".join(_section(one, run, report, query) for query in shown)
    overall = ", ".join(f"{measure} {figure}" for measure, figure in report.overall.items())
    legend = (
        f"95% intervals over {len(report.per_query)} queries. Below, the {len(shown)} with the lowest {PRIMARY}: the "
        "query in blue, its results with grade and score (green has a grade, red has none), and the best it missed."
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n<p>{escape(overall)}. {legend}</p>\n{sections}\n</html>\n"
    )


def _section(one: EvaluationSet, run: Run, report: Report, query: str) -> str:
    judged = one.grades[query]
    missed = sorted(judged.items(), key=lambda pair: -pair[1])[:1]
    note = f"{PRIMARY} {report.per_query[query][PRIMARY]:.3f}; {query}"
    figures = [_figure("query", one.queries[query], note)]
    for name, score in run.get(query, [])[:SHOWN]:
        grade = judged.get(name, 0)
        kind = "relevant" if grade else "wrong"
        figures.append(_figure(kind, one.corpus[name], f"grade {grade}, {score:.3f}; {name}"))
    for name, grade in missed:
        if name not in {found for found, _ in run.get(query, [])[:SHOWN]}:
            figures.append(_figure("query", one.corpus[name], f"missed: grade {grade}; {name}"))
    return f"<section>{''.join(figures)}</section>"


def _figure(kind: str, file: Path, text: str) -> str:
    try:
        data = b64encode(thumbnail(file.read_bytes(), SIDE)).decode()
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="">'
    except (InvalidInput, OSError):
        picture = "<p>not readable</p>"
    return f'<figure class="{kind}">{picture}<figcaption>{escape(text)}</figcaption></figure>'
