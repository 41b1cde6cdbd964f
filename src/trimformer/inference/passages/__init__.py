"""Passages whose states in the lower layers are kept on disk, so that a question is answered without computing them."""
