"""From rows and charts to Plotly figures."""
