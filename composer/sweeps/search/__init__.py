"""The search for the best settings, by Optuna."""
