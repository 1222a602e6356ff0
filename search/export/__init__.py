"""Results for use elsewhere: exported folders, model cards, NIR graphs, replays."""
