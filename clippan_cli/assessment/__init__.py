"""A scene judged: streaming, protocols, report, figures."""
