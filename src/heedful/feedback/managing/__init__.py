"""What a manager's pages show: overview, one task (inspection), one labeler (labeler_record), and the search for tasks."""
