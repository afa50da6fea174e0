"""What runs the model: texts to tokens, blocks from a layer on, the prefix cache, reading,
decoding."""
