"""Actions, arms and lift. Below the warnings, which ask it who may be contacted."""
