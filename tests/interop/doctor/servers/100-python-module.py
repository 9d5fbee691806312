# Python's module is missing
# KIND stdio
# CAUSE python-module
# EXIT 1
# WANT No module named 'fastmcp_of_mine'
# NOT by hand
import fastmcp_of_mine
