"""How pico-tiny was made: generator, tokenizer, training, evaluation and export. Not part of the wheel."""
