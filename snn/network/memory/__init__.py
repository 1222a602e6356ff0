"""What neurons and connections remember beside the membrane potential."""
