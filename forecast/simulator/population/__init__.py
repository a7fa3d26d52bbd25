"""Who is in a scene: vehicles, pedestrians, their routes and habits."""
