"""`python -m segment_pipeline.cli`, as `segment-pipeline`."""

import sys

from segment_pipeline.cli.main import main

sys.exit(main())
