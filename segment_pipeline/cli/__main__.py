"""`python -m segment_pipeline.cli`, as `segment-pipeline`."""

import sys

from segment_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
