"""Records in, pages and figures out; no tensors, and nothing that was not written down.

The verbs call `output.page.render_report`, `output.comparison.render_comparison`,
`draw.gallery.write_figures` and `output.terminal`, all on `data.inputs.ReportInputs`. First the
data of tables and figures is computed (`data/`: frozen records of numbers and words), then it is
drawn (`draw/`) and laid out (`output/`, with its `templates/`).
"""
