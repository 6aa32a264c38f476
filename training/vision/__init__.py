"""How pico-tiny-vl was made: pictures and clips drawn by a script, questions about them, and a model that answers."""
