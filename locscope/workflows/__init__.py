"""search, edit, evaluate, check, report: one file each; they alone wire the stages."""
