"""What is shown, as columns and tables; without plotly."""
