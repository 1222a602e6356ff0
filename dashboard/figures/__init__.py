"""Plotly figures and drawings; without Streamlit."""
