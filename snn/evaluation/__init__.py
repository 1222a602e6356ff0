"""What a trained network achieves: recordings, operating points, counted operations, replays."""
