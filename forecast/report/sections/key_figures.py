"""Six metrics with names in plain words, of the predictor and every baseline."""

from __future__ import annotations

from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.headlines import Headline, headlines
from forecast.report.section import Cell, Section, Table
from forecast.report.sections.scores import score_cells


def key_figures(result: EvaluationResult) -> Section:
    """One table of the headline metrics; all others are under Scores beside the baselines."""
    subsets = {False: None, True: result.rows.movers}
    means = {
        of_movers: {name: scores.estimates(subset) for name, scores in result.table.items()}
        for of_movers, subset in subsets.items()
    }
    known = [each for each in headlines(result.setting.samples) if each.metric in result.values]
    rows = tuple(
        (_name(result, each), *score_cells(each.metric, means[each.of_movers])) for each in known
    )
    caption = (
        "Six metrics that sum up the evaluation. Low is good, for the share of truths inside the "
        "region 0.9. All metrics, and which value is bold, are under Scores beside the baselines."
    )
    data = {
        each.metric: {
            "title": each.title,
            "of": "movers" if each.of_movers else "all",
            "means": {name: found[each.metric] for name, found in means[each.of_movers].items()},
        }
        for each in known
    }
    table = Table(caption, ("", *result.table), rows, cards=True)
    return Section("key", "Key figures", (table,), {"metrics": data})


def _name(result: EvaluationResult, headline: Headline) -> Cell:
    """The metric's name, with the number of values behind it."""
    means = result.means(result.rows.movers if headline.of_movers else None)
    count = counted(means[headline.metric].n, "prediction time")
    return Cell(headline.title, f"{headline.words}; {count}")
