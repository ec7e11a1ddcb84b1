"""The command line, as `python -m meshnode`."""

from meshnode.cli.main import main

if __name__ == "__main__":
    main()
