"""The page: what the paper found, what is seen here, tables and plots; one file, nothing from the network."""

import html

STYLE = """
:root { color-scheme: light dark; --text: #24292f; --back: #ffffff; --soft: #57606a; --line: #d0d7de; --card: #f6f8fa;
        --yes: #1a7f37; --partly: #9a6700; --no: #cf222e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #d0d7de; --back: #0d1117; --soft: #8b949e; --line: #30363d; --card: #161b22; --yes: #3fb950;
          --partly: #d29922; --no: #f85149; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto; padding: 1.5rem;
       max-width: 62rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
a { color: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; margin: 0.8rem 0; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child, table.findings th, table.findings td { text-align: left; }
dl { display: grid; grid-template-columns: 7rem 1fr; gap: 0.3rem 1rem; margin: 0.8rem 0; } dt { color: var(--soft); } dd { margin: 0; }
svg { max-width: 100%; height: auto; }
.note { color: var(--soft); font-size: 0.9rem; }
.shows { color: var(--yes); font-weight: 600; } .part { color: var(--partly); font-weight: 600; }
.not { color: var(--no); font-weight: 600; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: 0.5rem; } body { padding: 1rem; } }
@media print { h2 { break-after: avoid; } svg, table { break-inside: avoid; } }
"""
KINDS = {"shows": "shows", "shows in part": "part", "does not show": "not"}


def table(columns, rows, kind=""):
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def page(analyses, published, about):
    sections = [_section(each) for each in analyses]
    rows = "\n".join(f'<tr><td><a href="#{each.name}">{html.escape(each.title)}</a></td>'
                     f"<td>{html.escape(each.paper)}</td>"
                     f'<td><span class="{KINDS[each.verdict]}">{each.verdict}</span></td></tr>' for each in analyses)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The TIES paper on eight digit tasks</title>
<style>{STYLE}</style></head><body>
<h1>The TIES paper on eight digit tasks</h1>
<p>The analyses of <a href="https://arxiv.org/abs/2306.01708">TIES-Merging: Resolving Interference When Merging Models</a> (Yadav,
Tam, Choshen, Raffel, Bansal, NeurIPS 2023), on small models of real images. {html.escape(about)}</p>
<p>The models have 86,592 parameters and were fine-tuned for minutes; the paper's have up to 3 billion. Their recipe was tuned until
the methods had room to differ, so the order of the methods here is no evidence for or against any of them. Accuracies are of 597
test images per task, over those of the models fine-tuned on the task; whiskers run from the least to the most of the seeds.</p>
<div class="scroll"><table class="findings"><thead><tr><th>analysis</th><th>the paper</th><th>here it</th></tr></thead>
<tbody>{rows}</tbody></table></div>
{"".join(sections)}
<h2 id="published">Beside the published numbers</h2>
<p>Normalised test accuracy by the official TIES code, of the same models.</p>
{table(*published)}
</body></html>
"""


def _section(each):
    note = f'<p class="note">{html.escape(each.note)}</p>' if each.note else ""
    return f"""
<h2 id="{each.name}">{html.escape(each.title)}</h2>
<dl><dt>The paper</dt><dd>{html.escape(each.paper)}</dd>
<dt>Here</dt><dd>{html.escape(each.here)}</dd>
<dt>Finding</dt><dd><span class="{KINDS[each.verdict]}">{each.verdict}</span> (rule: {html.escape(each.rule)})</dd></dl>
{each.plot}
{table(each.columns, each.rows)}
{note}
"""

