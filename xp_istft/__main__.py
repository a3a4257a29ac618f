"""`python -m xp_istft` is the command `xp-istft`."""

from .cli import main

if __name__ == "__main__":
    main()
