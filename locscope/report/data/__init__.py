"""From records to rows, tables and charts: numbers and words only."""
