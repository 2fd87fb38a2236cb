"""Where `segment-pipeline`, and `python -m segment_pipeline.cli`, begin."""

import sys

from segment_pipeline.cli import ctrl_c


def begin() -> int:
    """The command line; Ctrl-C is no traceback, also while modules are read."""
    try:
        ctrl_c.remember()
        from segment_pipeline.cli.main import main

        return main()
    except BaseException as error:
        if not ctrl_c.ended(error):
            raise
        print("Stopped before anything began.", file=sys.stderr)
        return 130  # as main says of it


if __name__ == "__main__":
    sys.exit(begin())
