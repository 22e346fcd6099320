"""What another user can do to a session, from every node of a batch job: nothing."""
