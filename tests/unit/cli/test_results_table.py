"""A line between good matches and less similar pictures."""

from rich.console import Console

from cli.tables import results_table

HIT = {"uri": "s3://images/1.jpg", "width": 2, "height": 1, "near_duplicates": []}


def printed(scores, **more):
    results = [HIT | {"id": rank, "rank": rank, "score": score} for rank, score in enumerate(scores, 1)]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(results_table({"results": results, "latency_ms": 1, "timings_ms": {}, "release": "v1"} | more))
    return shown.get()


def test_a_line_stands_between_good_matches_and_the_others():
    text = printed([0.9, 0.7, 0.5, 0.4], suggested_min_score=0.6)
    above, _, below = text.partition("├")
    assert ("0.7000" in above, "0.5000" in above, "0.5000" in below) == (True, False, True)
    assert "Good matches score 0.600 or more." in text


def test_there_is_no_line_where_all_are_good_or_nothing_is_known():
    for text in (
        printed([0.9, 0.7], suggested_min_score=0.6),
        printed([0.9, 0.1]),
        printed([], suggested_min_score=0.6),
    ):
        assert "├" not in text
        assert "Good matches" not in text


def test_where_none_is_good_it_says_so():
    text = printed([0.3], suggested_min_score=0.6)
    assert "Good matches score 0.600 or more." in text
