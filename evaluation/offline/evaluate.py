"""Evaluate an encoder, a ranking or the running system: nDCG with grades 0 to 5, mAP and recall, with 95% intervals.

    visualsearch evaluate FOLDER                                  category folders; the shipped encoder, exact search
    visualsearch evaluate FOLDER --gateway                        the same through the running gateway, as indexed
    visualsearch evaluate --queries DIR --corpus DIR --qrels FILE judgements in TREC format
    visualsearch evaluate --qrels FILE --run FILE                 a ranking from another tool
    visualsearch evaluate --public [SET ...]                      the public benchmark (fetched when run)

nDCG's gain is the grade itself (linear: Järvelin and Kekäläinen 2002, as in trec_eval) unless --gain says exponential
(2^grade - 1: Burges et al. 2005). mAP and recall are trec_eval's map_cut and recall.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.datasets.fetch import DATA
from evaluation.offline import exact_ranking, gallery, gateway_ranking, public_sets, report_display, trec
from evaluation.offline.baselines import BASELINES
from evaluation.offline.embeddings import Embed, Prepare, onnx_embed, served
from evaluation.offline.report import PRIMARY, Report, judge
from evaluation.offline.sets import from_folders, from_qrels
from visualsearch.client import Client
from visualsearch.domain.errors import ConfigurationError, InvalidInput, VisualSearchError
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.offline.sets import EvaluationSet
    from evaluation.offline.trec import Run

    Ranker = Callable[[EvaluationSet], tuple[Run, dict[str, str]]]

CACHE = Path("out/cache")
"""Preprocessed pixels of the public sets, about 1.5 GB, and the baselines' models."""


def on_set(
    one: EvaluationSet,
    embed: Embed,
    *,
    how: Prepare = served,
    pixels: Path | None = None,
    embed_query: Embed | None = None,
) -> tuple[Report, dict[str, str]]:
    """Search a set exactly and evaluate the ranking. Also returns the reason for each unreadable picture."""
    run, skipped = exact_ranking.exact(one, embed, how=how, cache=pixels, embed_query=embed_query)
    kept = one.without(skipped)
    return judge(run, kept.grades, kept.groups, relevant_from=kept.relevant_from), skipped


def on_public_sets(
    model: Path | bytes | Embed, names: Sequence[str] = (), *, data: Path = DATA, how: Prepare = served
) -> dict[str, Report]:
    """Evaluate an ONNX file, or a function from pixels to embeddings, on the public sets: a report by set.

    ``names`` selects from ``public_sets.SETS``; empty selects all. Missing packages are fetched into ``data``.
    """
    embed = model if callable(model) else onnx_embed(model)
    return {name: on_set(public_set(name, data), embed, how=how, pixels=CACHE)[0] for name in names or public_sets.SETS}


@cache
def public_set(name: str, data: Path = DATA) -> EvaluationSet:
    """Build a set of the public benchmark and cache it."""
    return public_sets.SETS[name](data)


def _evaluate(one: EvaluationSet, label: str, ranker: Ranker, arguments: argparse.Namespace) -> Report:
    """Rank and evaluate a set, and write the requested output files."""
    run, skipped = ranker(one)
    report_display.tell_skipped(skipped)
    kept = one.without(skipped)
    report = judge(run, kept.grades, kept.groups, ks=arguments.k, relevant_from=kept.relevant_from, gain=arguments.gain)
    if arguments.save_run:
        trec.write_run(run, arguments.save_run, label)
    if arguments.gallery:
        arguments.gallery.write_text(gallery.page(kept, run, report, f"{one.name}: worst queries of {label}"))
    return report


def _rankers(arguments: argparse.Namespace) -> dict[str, Ranker]:
    """Return the rankers by label: the encoder or the gateway, and the baselines if requested."""
    pixels = CACHE if arguments.public is not None else None
    rankers: dict[str, Ranker] = {}
    if arguments.gateway:
        settings = Settings.load()
        url, key = arguments.url or settings.url, settings.api_key.get_secret_value()

        def by_gateway(one: EvaluationSet) -> tuple[Run, dict[str, str]]:
            with Client(url, key, settings.client_tls) as client:
                return gateway_ranking.ranked(one, client)

        rankers["gateway"] = by_gateway
    else:
        for model in arguments.model or [_shipped()]:
            if not model.is_file():
                raise ConfigurationError(f"{model} is missing; --model takes an ONNX file that `export` wrote.")
            rankers[_label(model)] = partial(exact_ranking.exact, embed=onnx_embed(model), cache=pixels)
    if arguments.baselines:
        for name, build in BASELINES.items():
            rankers[name] = partial(exact_ranking.exact, embed=build(CACHE), cache=pixels)
    return rankers


def _shipped() -> Path:
    settings = Settings.load()
    return settings.model_repository / settings.model_name / str(settings.model_version) / "model.onnx"


def _label(model: Path) -> str:
    return f"version {model.parent.name}" if model.name == "model.onnx" else model.stem


def _sets(arguments: argparse.Namespace) -> list[EvaluationSet]:
    if arguments.public is not None:
        if unknown := set(arguments.public) - set(public_sets.SETS):
            raise InvalidInput(
                f"There is no public set {', '.join(sorted(unknown))}; there are {', '.join(public_sets.SETS)}."
            )
        return [public_set(name) for name in arguments.public or public_sets.SETS]
    if arguments.folder:
        if not arguments.folder.is_dir():
            raise InvalidInput(f"{arguments.folder} is no folder.")
        return [from_folders(arguments.folder.resolve())]
    if arguments.qrels and arguments.queries and arguments.corpus:
        return [from_qrels(trec.read_qrels(arguments.qrels), arguments.queries, arguments.corpus)]
    raise InvalidInput("Name a FOLDER, or --public, or --qrels with --run, or --qrels with --queries and --corpus.")


def _parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="visualsearch evaluate",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of category folders")
    parser.add_argument(
        "--public", nargs="*", metavar="SET", help=f"of {', '.join(public_sets.SETS)}; all when none is named"
    )
    parser.add_argument("--qrels", type=Path, help="judgements: `query 0 document grade`")
    parser.add_argument("--run", type=Path, help="a ranking: `query Q0 document rank score name`")
    parser.add_argument("--queries", type=Path, help="the folder that the judgements' queries lie in")
    parser.add_argument("--corpus", type=Path, help="the folder that the judgements' documents lie in")
    parser.add_argument("--model", type=Path, action="append", help="an ONNX file; may be given several times")
    parser.add_argument("--gateway", action="store_true", help="ask the running gateway instead of a model")
    parser.add_argument("--url", help="the gateway's address")
    parser.add_argument("--baselines", action="store_true", help="pHash, HSV histogram, raw backbone and PCA beside it")
    parser.add_argument("-k", type=int, nargs="+", default=[1, 10], help="cut-offs, 1 to 100; 1 and 10 by default")
    parser.add_argument("--gain", choices=("linear", "exponential"), default="linear", help="of nDCG; %(default)s")
    parser.add_argument("--gallery", type=Path, help="write the worst queries of the first ranking to this HTML page")
    parser.add_argument("--save-run", type=Path, help="write the first ranking to this TREC run file")
    parser.add_argument("--json", type=Path, help="write every figure, per query too, to this file")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    if not all(1 <= k <= exact_ranking.DEPTH for k in arguments.k):
        raise InvalidInput(f"-k must be from 1 to {exact_ranking.DEPTH}.")
    if PRIMARY not in {f"ndcg@{k}" for k in arguments.k}:
        arguments.k = [*arguments.k, 10]
    reports: dict[str, dict[str, Report]] = {}
    if arguments.run:
        if not arguments.qrels:
            raise InvalidInput("--run needs --qrels, the judgements that it is held against.")
        report = judge(
            trec.read_run(arguments.run), trec.read_qrels(arguments.qrels), ks=arguments.k, gain=arguments.gain
        )
        reports[arguments.run.name] = {arguments.run.stem: report}
        report_display.out.print(report_display.table(arguments.run.name, reports[arguments.run.name]))
    else:
        rankers = _rankers(arguments)
        for one in _sets(arguments):
            reports[one.name] = {}
            for label, ranker in rankers.items():
                reports[one.name][label] = _evaluate(one, label, ranker, arguments)
                arguments.gallery = arguments.save_run = None
            report_display.out.print(report_display.table(one.name, reports[one.name]))
    if arguments.json:
        arguments.json.write_text(report_display.as_json(reports))


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = _parser().parse_args(words)
    try:
        _run(arguments)
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
