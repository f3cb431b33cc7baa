"""`python -m freelight`: the command `freelight`."""

from freelight.cli import main

if __name__ == "__main__":
    main(prog_name="freelight")
