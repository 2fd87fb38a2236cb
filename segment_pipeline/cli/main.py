"""`segment-pipeline`: a thin face over the functions that Dagster runs as well."""

import os
import sys
from collections.abc import Sequence

from segment_pipeline.cli import ctrl_c
from segment_pipeline.cli.arguments import BEGIN, CONFIG_HERE, USUAL_CONFIG, command_parser
from segment_pipeline.cli.commands import EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE
from segment_pipeline.config.config import load_config
from segment_pipeline.errors import ConfigError, PipelineError
from segment_pipeline.publishing.catalogue import RESERVED_NAMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0: done; 1: a month was not published; 2: nothing was tried; 130: stopped
    by Ctrl-C)."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        print(f"segment-pipeline: who your customers are becoming, month after month\n\n{BEGIN}", file=sys.stderr)
        print("`segment-pipeline --help` has all commands.", file=sys.stderr)
        return EXIT_USAGE
    ctrl_c.remember()
    chosen = command_parser().parse_args(given)
    try:
        if hasattr(chosen, "start"):  # it makes a configuration, and needs none
            return int(chosen.start(chosen))
        if chosen.config is None:
            chosen.config = CONFIG_HERE if CONFIG_HERE.exists() and not USUAL_CONFIG.exists() else USUAL_CONFIG
        config = load_config(chosen.config, RESERVED_NAMES)
        if not getattr(chosen, "quiet", False):
            for warning in config.remarks:
                print(f"{chosen.config}: {warning}", file=sys.stderr)
        code = int(chosen.command(config, chosen))
        sys.stdout.flush()  # here, and not when Python ends: nobody may be there any more to read it
        return code
    except BrokenPipeError:  # `... | head` has read enough; what is still to be written has nobody to read it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except BaseException as error:
        if ctrl_c.ended(error):
            print("Stopped. What was published is whole; run the same command again to go on.", file=sys.stderr)
            return EXIT_STOPPED
        if not isinstance(error, PipelineError):
            raise
        print(error, file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
