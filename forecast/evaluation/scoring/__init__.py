"""What each predicted pedestrian scored, in which situation, and means of it with intervals."""
