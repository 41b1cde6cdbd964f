"""Who does the trainings of a rung: this process, workers that share a table of jobs, the nodes of a cluster."""
