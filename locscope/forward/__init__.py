"""What runs the model: texts to tokens, blocks from a layer on, the trunk, reading, decoding."""
