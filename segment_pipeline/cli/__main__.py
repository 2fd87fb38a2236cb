"""Where `segment-pipeline`, and `python -m segment_pipeline.cli`, begin."""

import sys


def begin() -> int:
    """The command line; Ctrl-C is no traceback, also while modules are read."""
    try:
        from segment_pipeline.cli.main import main

        return main()
    except KeyboardInterrupt:
        print("Stopped before anything began.", file=sys.stderr)
        return 130  # as main says of it


if __name__ == "__main__":
    sys.exit(begin())
