"""Benchmarks beside their peers and floors, measured in the same run.

``python -m tests_py.bench`` runs them all and prints one table; ``--quick`` takes a minute at most.
Every row runs in a process of its own, so that none sees what another imported or left running.
"""
