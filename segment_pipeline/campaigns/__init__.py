"""Stage 5: actions, arms and lift. Below the warnings, which ask it who may be contacted."""
