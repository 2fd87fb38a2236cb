"""What the source holds of each month, and what becomes of that: lines that come late, feeds that end, copies."""
