"""The data that pages and figures show, as columns and tables; without Streamlit and plotly."""
