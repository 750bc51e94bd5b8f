"""What is seen only when all ships are looked at together: meetings, silence against the coverage, stopping places."""
