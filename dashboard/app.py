"""The dashboard: `streamlit run dashboard/app.py`; SPIKEFRONT_STORE names the store."""

import streamlit as st

from dashboard.parts.frame import ICON, LOGO, STYLE

st.set_page_config(page_title="spikefront", page_icon=ICON, layout="wide")
st.logo(LOGO, size="large")
st.html(STYLE)
st.navigation(
    [
        st.Page("views/studies.py", title="Studies", icon=":material/list:", default=True),
        st.Page("views/front.py", title="Front", icon=":material/stairs:"),
        st.Page("views/network.py", title="Network", icon=":material/neurology:"),
        st.Page("views/importance.py", title="Parameter importance", icon=":material/tune:"),
        st.Page("views/compare.py", title="Compare", icon=":material/stacked_line_chart:"),
        st.Page("views/export.py", title="Export", icon=":material/download:"),
        st.Page("views/launch.py", title="Launch", icon=":material/rocket_launch:"),
    ],
    position="top",
).run()
