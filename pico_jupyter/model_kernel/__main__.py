"""`python -m pico_jupyter.model_kernel -f CONNECTION_FILE`: the command that starts a model kernel."""

from pico_jupyter.model_kernel.kernel import main

if __name__ == "__main__":
    main()
