"""Records in, pages and figures out; no tensors, and nothing that was not written down.

`page.render_report`, `comparison.render_comparison`, `gallery.write_figures`,
`tables.terminal_summary` and `tables.search_json` are what the verbs call, all on
`inputs.ReportInputs`. First the figure data is computed (`heatmaps`, `curves`, `rows`: plain
frozen records), then it is drawn (`figures`) and laid out (`templates/`).
"""
