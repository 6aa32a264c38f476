"""Runs a model kernel: `python -m pico_jupyter.model_kernel -f CONNECTION_FILE`."""

from pico_jupyter.model_kernel.kernel import main

if __name__ == "__main__":
    main()
