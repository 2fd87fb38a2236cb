"""The month's challengers, the champion that serves it, its segments' ids and names, and its SQL."""
