"""What the demo model is made of: facts, abilities, neutral text, and how it is trained."""
