"""What people take away: exported folders, model cards, NIR graphs, replays."""
