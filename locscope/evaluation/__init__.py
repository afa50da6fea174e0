"""What a model says to the edits' questions and to neutral text, and what is measured of it."""
