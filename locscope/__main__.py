"""``python -m locscope`` is ``locscope``."""

from locscope.cli import main

if __name__ == "__main__":
    main()
