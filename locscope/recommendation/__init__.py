"""From trials to the location to use: finalists, fit, margins, the sentence."""
