"""From archive to published model as steps that are done once: the steps, their keys, a runner, Airflow's view of the same."""
