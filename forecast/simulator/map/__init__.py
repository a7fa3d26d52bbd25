"""What does not move: lanes, streets, surfaces, buildings and traffic lights."""
