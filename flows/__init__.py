"""What happens when: each file holds one Prefect flow that reads as a sentence of tasks; `cli` is the command."""
