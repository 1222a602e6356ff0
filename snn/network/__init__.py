"""What a network is made of: neurons, layers, blocks, exits, running over time; its static cost."""
