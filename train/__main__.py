"""`python -m freelight.train`: the command `train`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="train")
