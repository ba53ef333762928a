"""What is measured, against whom, as ratios of runs that take turns."""
