"""The code that made pico-tiny: generator, tokenizer, training, evaluation and export. Not part of the wheel."""
