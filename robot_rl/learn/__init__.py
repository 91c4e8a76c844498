"""One algorithm a file, and what runs, saves and resumes it."""
